import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { readSettings } from "../../infra/config";
import { fencedBlocks, shellBlocks } from "../../tools/docs/blocks";
import { settingKeys } from "../../tools/docs/configuration";
import { topics } from "../../tools/docs/examples";
import { restartOf } from "../../tools/docs/restart";
import { run } from "../../tools/run";

const root = resolve(__dirname, "../..");
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];
const read = (page: string) => readFileSync(join(root, page), "utf8");

/** The anchors that GitHub gives a page's headings. */
const anchors = (markdown: string) =>
  markdown
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

  it("has every setting once", () => {
    expect(examples.map(([key]) => key).sort()).toEqual(settingKeys().sort());
  });

  it.each(examples.filter(([key]) => !["hosts", "name", "address"].includes(key)))(
    "gives an example of %s that is admitted",
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
  ])("says of %s = %j that it restarts %s", (key, value, restart) => {
    expect(restartOf(key, value)).toBe(restart);
  });
});

describe.each(pages)("%s", (page) => {
  const text = read(page);
  const prose = fencedBlocks(text).reduce((rest, block) => rest.replace(block.text.join("\n"), ""), text);

  it("has links that lead somewhere", () => {
    const links = [...prose.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, link]) => link ?? "");
    const broken = links.filter((link) => {
      const [path = "", anchor] = link.split("#");
      const file = path === "" ? join(root, page) : join(root, dirname(page), path);
      if (!existsSync(file)) return true;
      return anchor !== undefined && !anchors(readFileSync(file, "utf8")).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  it("says of each block of commands how it is run", () => {
    expect(() => shellBlocks(text)).not.toThrow();
  });
});

describe("docs/coverage.md", () => {
  const rows = read("docs/coverage.md")
    .split("\n")
    .filter((line) => /^\| (?!-|documentation)/.test(line));
  const named = [...read("docs/coverage.md").matchAll(/\]\(\.\.\/(test\/[^)]+)\)(?:: “([^”]+)”)?/g)];

  it("names a test in every row, or says why there is none", () => {
    const without = rows.filter((row) => !/\]\(\.\.\/test\/|\| none: /.test(row) && !/^\| .* \| here +\|/.test(row));
    expect(without).toEqual([]);
    expect(named.length).toBeGreaterThan(50);
  });

  it.each(named.map(([, file, title]) => [file, title ?? ""]))("names a test that there is: %s %s", (file, title) => {
    expect(existsSync(join(root, file ?? ""))).toBe(true);
    expect(read(file ?? "").replaceAll('\\"', '"')).toContain(title);
  });
});

describe("blocks of commands", () => {
  const block = (info: string, text: string) => shellBlocks(`x\n\n\`\`\`${info}\n${text}\n\`\`\`\n`)[0];

  it("are read with where they are run and how they may end", () => {
    expect(block("sh", "a \\\n  b # c\n\n# d")).toEqual({ where: "here", exits: [0], commands: ["a b # c"], line: 3 });
    expect(block("sh host exits 0 1", "a")).toMatchObject({ where: "host", exits: [0, 1] });
    expect(block("sh not run: no LUKS", "a")).toMatchObject({ skipped: "no LUKS" });
    expect(block("yaml", "a: 1")).toBeUndefined();
  });

  it.each(["sh on the host", "sh not run:"])("are refused as %j", (info) => {
    expect(() => block(info, "a")).toThrow("how it is run");
  });
});
