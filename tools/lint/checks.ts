import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { libDirectory } from "../../infra/paths";
import { sourceOf } from "../../infra/render";
import { run } from "../../toolchain/run";
import { languageOf, type Language } from "./language";
import { programsBelowByPath } from "./below";
import { isOnPath } from "../../toolchain/programs";
import { proseFindings } from "./prose";
import { hostileName, type Sample } from "./samples";
import { verifyUnits } from "./units";

/** A check of the working copy. */
export interface Check {
  name: string;
  /** Returns what it finds, empty when all is well. Rejects when it cannot check. */
  find: () => Promise<string>;
}

/** The working copy. */
export const root = resolve(__dirname, "../..");

/** Runs a program of node_modules over the working copy; if it fails, its output is the finding. */
async function node(program: string, ...args: string[]): Promise<string> {
  const path = join(root, "node_modules", ".bin", program);
  // By this Node: that of PATH may be older than cspell needs.
  const { code, stdout, stderr } = await run(process.execPath, [path, ...args], { cwd: root, allowFailure: true });
  return code === 0 ? "" : `${stdout}${stderr}`.trim() || `exited with ${code}`;
}

/** The files that git knows or would add, from the root. */
async function filesOfWorkingCopy(): Promise<string[]> {
  const { stdout } = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  return stdout.split("\0").filter((name) => name !== "" && existsSync(join(root, name)));
}

/** The checks of source files: TypeScript, YAML, Markdown. */
export const sourceChecks: Check[] = [
  { name: "eslint", find: () => node("eslint", "--max-warnings=0", ".") },
  { name: "prettier", find: () => node("prettier", "--check", "--log-level=warn", ".") },
  { name: "types", find: () => node("tsc") },
  { name: "handles below volumes", find: () => Promise.resolve(programsBelowByPath(root)) },
  { name: "spelling", find: () => node("cspell", "--no-progress", "--no-summary", "*.md", "docs/**/*.md") },
  { name: "prose", find: async () => proseFindings(root, await filesOfWorkingCopy()) },
];

interface Text {
  name: string;
  text: string;
}

/** Writes texts into a folder, runs a program there with their names, and returns what it prints. */
async function overTexts(texts: Text[], accept: RegExp, program: string, ...args: string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-lint-"));
  try {
    for (const { name, text } of texts) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), text);
    }
    const names = texts.map(({ name }) => name);
    const { code, stdout, stderr } = await run(program, [...args, ...names], { cwd: folder, allowFailure: true });
    const said = `${stdout}${stderr}`.split("\n");
    const findings = said.filter((line) => line !== "" && !accept.test(line)).join("\n");
    return findings === "" && code !== 0 ? `${program} exited with ${code}` : findings;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const nothing = /^$/;

const rendered = (samples: Sample[], language: Language): Text[] =>
  samples.flatMap(({ name, files }, index) =>
    files
      // Files that are the same on all hosts are checked once.
      .filter((file) => languageOf(file) === language && (index === 0 || sourceOf(file.path).rendered))
      .map(({ path, content }) => ({ name: `${name}${path}`, text: content })),
  );

/** Shell files of the working copy that are programs by themselves; those of infra/commands are parts of scripts. */
async function shellFiles(): Promise<Text[]> {
  const names = (await filesOfWorkingCopy()).filter((name) => !/^(infra\/commands|templates)\//.test(name));
  const candidates = names.filter((name) => /(^|\/)[^.]+$|\.(sh|bash)$/.test(name));
  const texts = await Promise.all(
    candidates.map(async (name) => ({ name, text: await readFile(join(root, name), "utf8").catch(() => "") })),
  );
  return texts.filter(({ name, text }) => name.endsWith(".sh") || /^#!.*\b(ba|da)?sh\b/.test(text));
}

/** The parts of infra/commands that no script of the samples contains, and that would therefore be unchecked. */
async function uncheckedParts(samples: Sample[]): Promise<string[]> {
  const folder = join(root, "infra/commands");
  const names = readdirSync(folder).filter((name) => name.endsWith(".sh"));
  const parts = await Promise.all(
    names.map(async (name) => ({ name, text: await readFile(join(folder, name), "utf8") })),
  );
  const scripts = samples.flatMap((sample) => sample.scripts.map(({ text }) => text));
  return parts
    .filter(({ text }) => !scripts.some((script) => script.includes(text)))
    .map(({ name }) => `infra/commands/${name} is in no script that is checked, add one to tools/lint/samples.ts`);
}

/** actionlint from PATH, or else the version that tools/lint/go pins, which Go builds once and keeps in its cache. */
async function actionlint(): Promise<string> {
  const folder = join(root, ".github/workflows");
  const workflows = readdirSync(folder).map((name) => join(folder, name));
  if (!isOnPath("actionlint") && !isOnPath("go")) {
    throw new Error("actionlint is needed and not here. Install Go (https://go.dev/doc/install), which builds it.");
  }
  const [program, args] = isOnPath("actionlint")
    ? ["actionlint", []]
    : ["go", ["-C", join(__dirname, "go"), "tool", "actionlint"]];
  const { code, stdout, stderr } = await run(program, [...args, "-no-color", ...workflows], {
    allowFailure: true,
    env: { ...process.env, GOFLAGS: "-mod=readonly", GOWORK: "off" },
  });
  return code === 0 ? "" : `${stdout}${stderr}`.trim();
}

/** The checks of rendered files: each by the program that will read it, or by the linter of its language. */
export function renderedChecks(samples: Sample[]): Check[] {
  const scripts = samples.flatMap(({ name, scripts }) =>
    scripts.map((script) => ({ name: `${name}/infra/commands/${script.name}`, text: script.text })),
  );
  return [
    {
      name: "shellcheck",
      find: async () => {
        const shellcheck = (texts: Text[], ...options: string[]): Promise<string> =>
          overTexts(texts, nothing, "shellcheck", "--format=gcc", ...options);
        // Values may look like expansions in single quotes (SC2016), but are not.
        const written = [...rendered(samples, "shell"), ...scripts];
        const found = await Promise.all([
          uncheckedParts(samples).then((names) => names.join("\n")),
          shellcheck([...written.filter(({ name }) => !name.startsWith(hostileName)), ...(await shellFiles())]),
          shellcheck(
            written.filter(({ name }) => name.startsWith(hostileName)),
            "--exclude=SC2016",
          ),
        ]);
        return found.filter((findings) => findings !== "").join("\n");
      },
    },
    {
      name: "perl -c",
      find: async () => {
        // It takes one file at a time. "syntax OK" is no finding, a warning is.
        const modules = join(root, "templates", libDirectory);
        const each = rendered(samples, "perl").map((text) =>
          overTexts([text], / syntax OK$/, "perl", "-I", modules, "-c"),
        );
        return (await Promise.all(each)).filter((findings) => findings !== "").join("\n");
      },
    },
    { name: "luac -p", find: () => overTexts(rendered(samples, "lua"), nothing, "luac5.3", "-p") },
    {
      name: "systemd-analyze verify",
      find: async () => {
        const units = samples.map(({ files }) => files.filter((file) => languageOf(file) === "unit"));
        return (await verifyUnits(units)).join("\n");
      },
    },
    { name: "actionlint", find: actionlint },
  ];
}
