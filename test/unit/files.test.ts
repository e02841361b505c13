import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { manifest, renderFiles } from "../../infra/files";
import { libDirectory } from "../../infra/paths";
import { sourceOf } from "../../infra/render";
import { hostile, hostOf } from "./support/settings";
import { languageOf, templateOf, templates, type Language } from "./support/templates";

const hosts = { "default settings": hostOf(), "hostile settings": hostOf(hostile) };
const all = renderFiles(hosts["hostile settings"]);

const byDefault = renderFiles(hosts["default settings"]);
// A program that is the same on all hosts needs no snapshot.
const isRendered = ({ path }: { path: string }) => sourceOf(path).rendered;

it.each(byDefault.filter(isRendered).map((file) => [file.path, file.content]))("%s is, by default", (_, content) => {
  expect(content).toMatchSnapshot();
});

// Only the lines that differ from the default, to show how the values are written.
it.each(all.filter(isRendered).map((file) => [file.path, file.content]))(
  "%s has, with hostile settings",
  (path, content) => {
    const usual = new Set(byDefault.find((file) => file.path === path)?.content.split("\n"));
    expect(content.split("\n").filter((line) => !usual.has(line))).toMatchSnapshot();
  },
);

it.each([...byDefault, ...all].map((file) => [file.path, file.content]))("%s ends with a newline", (_, content) => {
  // Many programs ignore a last line without one.
  expect(content).toMatch(/[^\n]\n$/);
});

it("every template is installed under some settings, at its path below templates/", () => {
  const found = readdirSync(templates, { recursive: true, encoding: "utf8", withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(templates, join(parentPath, name)));
  expect(found.map((name) => `/${name.replace(/\.hbs$/, "")}`).sort()).toEqual(all.map(({ path }) => path).sort());
});

// With `require`, a module loads another one only where it is installed.
it.each([
  ["default settings", {}],
  ["sqliteSafe: false", { sqliteSafe: false }],
  ["wholeFile: false", { wholeFile: false }],
  ["sqliteSafe: false and wholeFile: false", { sqliteSafe: false, wholeFile: false }],
])("every module that an installed program loads is installed: %s", (_, settings) => {
  const files = renderFiles(hostOf(settings));
  const paths = new Set(files.map(({ path }) => path));
  const missing = files.flatMap(({ path, content }) =>
    [...content.matchAll(/^use LsyncdAsCode::([\w:]+)/gm)]
      .map(([, name = ""]) => `${libDirectory}/LsyncdAsCode/${name.replaceAll("::", "/")}.pm`)
      .filter((module) => !paths.has(module))
      .map((module) => `${path} needs ${module}`),
  );
  expect(missing).toEqual([]);
});

it("a command on PATH only calls a program in the folder that is replaced as a whole", () => {
  const commands = all.filter(({ path }) => path.startsWith("/usr/local/sbin/"));
  expect(commands.length).toBeGreaterThan(4);
  for (const { path, content } of commands) {
    const program = path.replace("/usr/local/sbin", libDirectory);
    expect(content.replace(/^#.*\n/gm, "")).toBe(`exec ${program} "$@"\n`);
    expect(all.map((file) => file.path)).toContain(program);
  }
});

it("no name or path is used twice", () => {
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
  expect(new Set(all.map(({ path }) => path)).size).toBe(all.length);
});

const helpers: Record<Language, string[]> = {
  lua: ["lua", "comment"],
  shell: ["sh", "comment"],
  // Programs in Perl are the same on every host.
  perl: [],
  unit: ["systemdWord", "systemdArg", "mountUnit", "comment"],
  msmtp: ["msmtp", "comment"],
  logrotate: ["sh", "comment"],
  settings: ["conf", "comment"],
};

it.each(all.map((file) => [file.path, file] as const))("%s uses the quoting of its own language, once", (_, file) => {
  const template = templateOf(file.path);
  const used = [...template.matchAll(/\{\{(?![#/>!]|else\b)(\w+)/g)].map(([, helper]) => helper);
  expect(helpers[languageOf(file)]).toEqual(expect.arrayContaining(used));
  // A helper adds its own quotes; inside others they would end the string.
  expect(template).not.toMatch(/["'`]\{\{(?![#/>!])|\}\}["'`]/);
});

describe("modes", () => {
  it("programs are executable, all other files are not", () => {
    for (const { content, mode, path } of all) {
      expect([path, mode]).toEqual([path, expect.stringMatching(content.startsWith("#!") ? /^07/ : /^06/)]);
    }
  });

  it("a file with a secret is readable by root alone and is marked as secret", () => {
    const { smtp, heartbeatUrl } = hostile;
    const holding = all.filter(({ content }) => content.includes(smtp.password) || content.includes("/ping/"));
    expect(holding.map(({ path }) => path).sort()).toEqual(["/etc/lsyncd/alerts.conf", "/root/.msmtprc-lsyncd"]);
    expect(holding.every(({ mode, secret }) => mode === "0600" && secret)).toBe(true);
    expect(all.filter(({ secret }) => secret)).toEqual(holding);
    expect(heartbeatUrl).toContain("/ping/");
  });

  it("nothing is secret by default", () => {
    expect(renderFiles(hostOf()).filter(({ secret }) => secret)).toEqual([]);
  });
});

describe("manifest", () => {
  it("has a line for each file: mode, SHA-256, service to restart, path", () => {
    const [guard] = all;
    if (guard === undefined) throw new Error("no files");
    const sum = createHash("sha256").update(guard.content).digest("hex");
    expect(manifest([{ ...guard, path: "/a", mode: "0755", restart: "lsyncd" }])).toBe(`0755 ${sum} lsyncd /a`);
    expect(manifest(all).split("\n")).toHaveLength(all.length);
  });

  it("is the same for the same settings", () => {
    expect(manifest(renderFiles(hostOf(hostile)))).toBe(manifest(all));
  });
});

describe("changing a setting", () => {
  const changed = (settings: Record<string, unknown>): string[] => {
    const before = new Map(renderFiles(hostOf()).map(({ path, content }) => [path, content]));
    return renderFiles(hostOf(settings))
      .filter(({ path, content }) => before.get(path) !== content)
      .map(({ path }) => path);
  };

  it("delay changes one line of the configuration, and no other file", () => {
    expect(changed({ delay: 5 })).toEqual(["/etc/lsyncd/lsyncd.conf.lua"]);
    const config = (delay: number): string[] =>
      renderFiles(hostOf({ delay })).flatMap(({ name, content }) => (name === "config" ? content.split("\n") : []));
    expect(config(5).filter((line, index) => line !== config(1)[index])).toEqual(["    delay  = 5,"]);
  });

  it.each([
    { alertRecipients: "a@example.com" },
    { smtp: hostile.smtp },
    { heartbeatUrl: "https://example.com/x" },
    { diskLimit: 80 },
  ])("%j restarts no mirroring service", (settings) => {
    const paths = changed(settings);
    expect(paths).not.toEqual([]);
    expect(
      renderFiles(hostOf(settings)).filter(({ path, restart }) => paths.includes(path) && restart === "lsyncd"),
    ).toEqual([]);
  });
});
