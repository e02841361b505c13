import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { copyRepository } from "../support/clone";

jest.setTimeout(300_000);

let copy: string;

beforeAll(async () => {
  copy = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  await copyRepository(copy);
});
afterAll(async () => {
  await rm(copy, { recursive: true, force: true });
});

/** Inserts lines after a line that occurs once in a file. */
async function insert(file: string, behind: string, lines: string): Promise<void> {
  const text = await readFile(join(copy, file), "utf8");
  expect(text.split(behind)).toHaveLength(2);
  await writeFile(
    join(copy, file),
    text.replace(behind, () => behind + lines),
  );
}

const inCopy = (command: string, ...args: string[]) => run(command, args, { cwd: copy, allowFailure: true });
const types = () => inCopy("node_modules/.bin/tsc");
const unit = (pattern: string, ...more: string[]) =>
  inCopy("node_modules/.bin/jest", "--selectProjects=unit", "--testPathPatterns", pattern, ...more);

/** Runs the final steps of each recipe, and expects all to pass. */
async function passes(pattern: string): Promise<void> {
  const steps = [await types(), await unit(pattern, "-u"), await unit(pattern, "--ci")];
  for (const { code, stdout, stderr } of steps) expect([code, code === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
}

describe("a recipe of CONTRIBUTING.md changes only the files that it names", () => {
  it("add a setting", async () => {
    await insert(
      "infra/config.ts",
      "const mirrorShape = {\n",
      '  niceness: field.whole(0, 19).describe("How much rsync stands back for others."),\n',
    );
    await insert("infra/config.ts", "export const defaults: MirrorSettings = {\n", "  niceness: 0,\n");
    await insert(
      "templates/etc/lsyncd/limits.conf.hbs",
      "deletion_share = {{conf deletionShare}}\n",
      "niceness = {{conf niceness}}\n",
    );
    const missing = await inCopy("npm", "run", "--silent", "docs");
    expect(missing.stderr).toContain("tools/docs/examples.ts: there is no example for niceness");
    await insert("tools/docs/examples.ts", "      delay: { value: 5 },\n", "      niceness: { value: 5 },\n");
    expect((await inCopy("npm", "run", "--silent", "docs")).code).toBe(0);
    expect(await readFile(join(copy, "docs/configuration.md"), "utf8")).toMatch(/^\| `niceness` .*\| 0 to 19 /m);
    await passes("unit/(files|config|docs|schema)");
  });

  it("add a managed file", async () => {
    await writeFile(join(copy, "templates/usr/local/bin/lsyncd-hello"), "#!/bin/sh\necho hello\n");
    await insert(
      "infra/files.ts",
      "})[] = [\n",
      '  { name: "hello", path: "/usr/local/bin/lsyncd-hello", mode: "0755", restart: "none" },\n',
    );
    await passes("unit/(files|mirror|commands|rendered)");
  });
});
