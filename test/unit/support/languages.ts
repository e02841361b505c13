import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../../../toolchain/run";

/**
 * The languages that values are written into, asked to read them back. Each function takes many texts and starts one
 * process.
 */

/** Runs `work` with files in a new folder; a path of theirs is relative to it. Returns what `work` does. */
export async function withFiles<T>(files: Record<string, string>, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const frames = (texts: string[]): string => texts.map((text) => `${Buffer.byteLength(text)}\n${text}`).join("");
const bytes = (hex: string): string => Buffer.from(hex, "hex").toString();

// Runs each text with nothing but what lsyncd gives a configuration, and prints what it set as JSON. Strings are
// printed as x and their bytes in hexadecimal.
const luaReader = `
local function json(value)
  if type(value) == "string" then
    return '"x' .. value:gsub(".", function(c) return string.format("%02x", c:byte()) end) .. '"'
  elseif type(value) ~= "table" then
    return tostring(value)
  end
  local list, map = {}, {}
  for _, item in ipairs(value) do list[#list + 1] = json(item) end
  for key, item in pairs(value) do
    if type(key) == "string" then map[#map + 1] = json(key) .. ":" .. json(item) end
  end
  if next(map) == nil then return "[" .. table.concat(list, ",") .. "]" end
  return "{" .. table.concat(map, ",") .. "}"
end
while true do
  local size = io.read("n", "l")
  if not size then break end
  local seen = { commands = {}, files = {} }
  local environment = {
    default = { rsync = {} },
    dofile = function(path) table.insert(seen.files, path) return true end,
    error = error,
    pcall = pcall,
    os = { execute = function(command) table.insert(seen.commands, command) return true end },
    settings = function(it) seen.settings = it end,
    sync = function(it) seen.sync = it end,
    value = function(it) seen.value = it end,
  }
  assert(load(size == 0 and "" or io.read(size), "=text", "t", environment))()
  print(json(seen))
end
`;

/** Evaluates Lua texts; returns what each set or called: `settings`, `sync`, `commands` of os.execute, `files` of dofile, and `value`. */
export async function evaluateLua(texts: string[]): Promise<Record<string, unknown>[]> {
  return withFiles({ "reader.lua": luaReader }, async (folder) => {
    const { stdout } = await run("lua5.3", [join(folder, "reader.lua")], { input: frames(texts) });
    const revive = (_: string, value: unknown): unknown => {
      if (typeof value === "string") return bytes(value.slice(1));
      if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [bytes(key.slice(1)), item as unknown]));
    };
    return stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line, revive) as Record<string, unknown>);
  });
}

/**
 * Evaluates shell assignments and returns the words that the variable holds after each: one for `A=…`, several for
 * `A=(…)`. Each is evaluated alone.
 */
export async function evaluateShell(assignments: { text: string; variable: string }[]): Promise<string[][]> {
  const script = assignments
    .map(
      ({ text, variable }) =>
        `unset ${variable}\n${text}\nprintf '%s\\0' "\${#${variable}[@]}" ` + `"\${${variable}[@]}"\n`,
    )
    .join("");
  const { stdout } = await run("bash", [], { input: script });
  const words = stdout.split("\0");
  return assignments.map(() => words.splice(0, Number(words.shift())));
}

/** Lets bash parse texts without running them; rejects with bash's error. */
export async function parseShell(texts: string[]): Promise<void> {
  // As the bodies of functions: a quote or bracket that stays open in one is an error at its end.
  const input = texts.map((text, index) => `case_${index}() {\n:\n${text}\n}\n`).join("");
  await withFiles({ script: input }, (folder) => run("bash", ["-n", join(folder, "script")]));
}

/** systemd's own names for the mount units of paths. */
export async function systemdMountUnits(paths: string[]): Promise<string[]> {
  const { stdout } = await run("systemd-escape", ["--path", "--suffix=mount", "--", ...paths]);
  return stdout.trim().split(" ");
}

/** Undoes the quoting of words in a unit file (systemd.syntax, "Quoting") and its specifiers. */
export function unquoteSystemd(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, bare]) =>
    (quoted ?? bare ?? "").replace(/\\(.)/g, "$1").replaceAll("%%", "%"),
  );
}
