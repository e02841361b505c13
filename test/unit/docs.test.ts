import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { readSettings } from "../../infra/config";
import { renderFiles } from "../../infra/files";
import { fencedBlocks, shellBlocks } from "../../tools/docs/blocks";
import { drillPages } from "../../tools/drill/page";
import { settingKeys } from "../../tools/docs/configuration";
import { topics } from "../../tools/docs/examples";
import { screens } from "../../tools/docs/screens";
import { restartOf } from "../../tools/docs/restart";
import { run } from "../../toolchain/run";
import { hostile, hostOf } from "./support/settings";

const root = resolve(__dirname, "../..");
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];
const read = (page: string) => readFileSync(join(root, page), "utf8");

/** A page without its fenced blocks. */
const proseOf = (markdown: string) =>
  fencedBlocks(markdown).reduce((rest, block) => rest.replace(block.text.join("\n"), ""), markdown);

/** The anchors that GitHub gives a page's headings. */
const anchors = (markdown: string) =>
  proseOf(markdown)
    .split("\n")
    .filter((line) => /^#+ /.test(line))
    .map((line) => line.replace(/^#+ /, "").toLowerCase())
    .map((title) => title.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-"));

describe("docs/configuration.md", () => {
  it("is what `npm run docs` writes", async () => {
    // In a process of its own: prettier, which lays the tables out, cannot be loaded into jest's.
    const args = ["--import", "tsx", "tools/docs.ts", "--check"];
    const { code, stderr } = await run(process.execPath, args, { cwd: root, allowFailure: true });
    expect([code, stderr]).toEqual([0, ""]);
  }, 60_000);

  const examples = topics.flatMap(({ settings }) => Object.entries(settings));

  it("lists every setting once", () => {
    expect(examples.map(([key]) => key).sort()).toEqual(settingKeys().sort());
  });

  it.each(examples.filter(([key]) => !["hosts", "name", "address"].includes(key)))(
    "gives a valid example of %s",
    (key, { value }) => {
      const hosts = [{ name: "sqlite-1", address: "192.0.2.11", [key]: value }];
      expect(() => readSettings({ stack: { "lsyncd:hosts": JSON.stringify(hosts) }, env: {} })).not.toThrow();
    },
  );

  it.each([
    ["delay", 5, "lsyncd"],
    ["alertRecipients", ["a@example.com"], "none"],
    ["diskLimit", 50, "none"],
    ["smtp", { host: "smtp.example.com", from: "a@example.com" }, "none"],
    ["user", "deploy", "none"],
  ])("for %s = %j, says that it restarts %s", (key, value, restart) => {
    expect(restartOf(key, value)).toBe(restart);
  });
});

const sources = ["cli", "infra", "templates", "toolchain", "tools"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8", withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name)),
);
/** Every text that could contain a path on a host. */
const known = [
  ...sources.map((file) => readFileSync(file, "utf8")),
  ...renderFiles(hostOf(hostile)).map((file) => file.path),
].join("\n");

/** Pages that a command writes, and that command. */
const generated = [
  ["docs/configuration.md", "npm run docs"],
  ["docs/alerts-samples.md", "npm run docs -- --samples"],
  ["docs/reliability.md", "npm run reliability"],
  ["docs/performance.md", "npm run bench -- write"],
] as const;

describe.each(pages)("%s", (page) => {
  const text = read(page);
  const prose = proseOf(text);

  const kind = generated.find(([one]) => one === page)?.[1];

  it("names its readers in its first line, or the command that writes it", () => {
    const [, first = ""] = /^# .+\n+(?:<!--.*-->\n+)*(.+)/.exec(text) ?? [];
    const readers = /^For (?:operators|those|everyone|newcomers|contributors)/;
    expect(first).toMatch(page === "README.md" ? /./ : readers);
  });

  it("has at most 250 lines, unless a command writes it", () => {
    if (kind === undefined) expect(text.split("\n").length).toBeLessThanOrEqual(251);
  });

  it("has no broken links", () => {
    const links = [...prose.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, link]) => link ?? "");
    const broken = links.filter((link) => {
      const [path = "", anchor] = link.split("#");
      const file = path === "" ? join(root, page) : join(root, dirname(page), path);
      if (!existsSync(file)) return true;
      return anchor !== undefined && !anchors(readFileSync(file, "utf8")).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it("names only files that exist in this repository", () => {
    const named = [...text.matchAll(/`((?:infra|tools|test|templates|stacks|docs|\.ci|\.github)\/[^`\s]*)`/g)]
      .map(([, path]) => path ?? "")
      // Files that a reader creates.
      .filter((path) => !/\bNAME\b|\bx\.hbs$|Pulumi\.sqlite\.yaml$/.test(path));
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it("names only host files that the program knows", () => {
    const named = [
      ...text.matchAll(/(?<![\w/])\/(?:etc\/(?:lsyncd|systemd|sysctl\.d|logrotate\.d)|usr\/local)\/[\w./-]*\w/g),
    ];
    const unknown = named.map(([path]) => path).filter((path) => !/\bx\.hbs$/.test(path) && !known.includes(path));
    expect(unknown).toEqual([]);
  });

  it("says of each block of commands how it is run", () => {
    expect(() => shellBlocks(text)).not.toThrow();
    // A block with another info string would escape the test that runs the blocks; the drill reads its page itself.
    const others = fencedBlocks(text).filter(({ info }) => /^(bash|shell|zsh|$)/.test(info));
    expect(drillPages.includes(page) ? [] : others).toEqual([]);
  });
});

it("each picture is used on a page", () => {
  const shown = pages.map(read).join("\n");
  for (const file of Object.values(screens)) expect(shown).toContain(file.replace(/^docs\//, ""));
});

describe("pages that the program links to", () => {
  const named = sources.flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/\b(docs\/[\w/-]+\.md)(?:#([\w-]+))?/g)].map(
      ([, page = "", anchor]) => [page, anchor ?? "", relative(root, file)] as const,
    ),
  );

  it.each(named)("%s#%s, linked from %s, exists", (page, anchor) => {
    expect(existsSync(join(root, page))).toBe(true);
    if (anchor !== "") expect(anchors(read(page))).toContain(anchor);
  });

  it.each([
    ["infra/config.ts", "docs/configuration.md"],
    ["infra/program.ts", "docs/operations.md#secrets"],
    ["infra/connection.ts", "docs/troubleshooting.md#a-host-key-is-unknown-or-has-changed"],
    ["infra/observe.ts", "docs/troubleshooting.md#a-host-cannot-be-reached"],
    ["infra/commands/checks.sh", "docs/troubleshooting.md#the-preflight-refuses"],
    ["infra/commands/become.sh", "docs/troubleshooting.md#sudo"],
    ["infra/commands/packages.sh", "docs/troubleshooting.md#packages-cannot-be-installed"],
    ["infra/commands/activate.sh", "docs/troubleshooting.md#a-deployment-is-undone"],
    ["toolchain/go.ts", "docs/troubleshooting.md#the-engine-cannot-be-installed"],
    ["cli/status/report.ts", "docs/troubleshooting.md"],
    ["cli/verify/report.ts", "docs/on-a-host.md#verification"],
  ])("errors of %s link to %s", (file, page) => {
    expect(read(file)).toContain(page);
  });
});

/** The tests that a page names: a link to the file, and a title if one follows. */
const testsNamed = (page: string) => [...read(page).matchAll(/\]\((?:\.\.\/)+(test\/[^)]+)\)(?:: “([^”]+)”)?/g)];

describe.each(["docs/coverage.md", "docs/decisions/0012-who-is-trusted.md"])("%s", (page) => {
  it.each(testsNamed(page).map(([, file, title]) => [file, title ?? ""]))(
    "names an existing test: %s %s",
    (file, title) => {
      expect(existsSync(join(root, file ?? ""))).toBe(true);
      expect(read(file ?? "").replaceAll('\\"', '"')).toContain(title);
    },
  );
});

describe("docs/coverage.md", () => {
  const rows = read("docs/coverage.md")
    .split("\n")
    .filter((line) => /^\| (?!-|documentation)/.test(line));
  const named = testsNamed("docs/coverage.md");

  it("names a test in every row, or says why there is none", () => {
    const without = rows.filter((row) => !/\]\(\.\.\/test\/|\| none: /.test(row) && !/^\| .* \| here +\|/.test(row));
    expect(without).toEqual([]);
    expect(named.length).toBeGreaterThan(50);
  });
});

describe("blocks of shell commands", () => {
  const block = (info: string, text: string) => shellBlocks(`x\n\n\`\`\`${info}\n${text}\n\`\`\`\n`)[0];

  it("are parsed with their host and their allowed exit codes", () => {
    expect(block("sh", "a \\\n  b # c\n\n# d")).toEqual({ where: "here", exits: [0], commands: ["a b # c"], line: 3 });
    expect(block("sh host exits 0 1", "a")).toMatchObject({ where: "host", exits: [0, 1] });
    expect(block("sh not run: no LUKS", "a")).toMatchObject({ skipped: "no LUKS" });
    expect(block("yaml", "a: 1")).toBeUndefined();
  });

  it.each(["sh on the host", "sh not run:"])("are refused with the info string %j", (info) => {
    expect(() => block(info, "a")).toThrow("how it is run");
  });
});
