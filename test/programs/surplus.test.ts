import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// A full pass over a mirror that has no name too many: rsync need not look for deletions.

jest.setTimeout(120_000);

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = (text: string) => run("bash", ["-c", `set -e; cd '${folder}'; ${text}`]);
const options = ["-WpglstoD", "--delete-after", "--no-perms", "-r", "--delete", "--ignore-errors"];

beforeAll(() => needPrograms("rsync", "strace"), installTime);
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-surplus-"));
  for (const name of ["source", "target", "bin"]) mkdirSync(at(name));
  writeFileSync(at("bin/df"), "#!/bin/sh\necho IUsed; echo 100000\n", { mode: 0o755 });
  await writeSettings(at("settings"), {
    ...{ source: at("source"), target: at("target"), state: at("run"), sqliteSafe: false, deletionLimit: 1e6 },
  });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Makes a full pass; returns its exit code and the dry runs of rsync: whether each looked for deletions. */
async function pass(...more: string[]): Promise<{ code: number; deletions: boolean[] }> {
  const words = ["-f", "-s", "500", "-e", "trace=execve", "-o", at("trace"), join(programs, "rsync-wrapper")];
  const args = [...words, ...more, ...options, at("source/"), at("target/")];
  const env = { ...process.env, LSYNCD_SETTINGS: at("settings"), PATH: `${at("bin")}:${process.env.PATH ?? ""}` };
  const { code } = await run("strace", args, { env, allowFailure: true });
  const started = readFileSync(at("trace"), "utf8").split("\n");
  const dry = started.filter((line) => line.includes('"--dry-run"') && !line.includes(" = -1 "));
  return { code, deletions: dry.map((line) => line.includes('"--delete"')) };
}
const names = async (root: string) =>
  (await shell(`cd ${root} && find . -mindepth 1 -path ./.lsyncd-as-code -prune -o -printf '%y %P\\n' | sort`)).stdout;

it("does not look for deletions when there are none, and finds what is new or changed", async () => {
  await shell("mkdir source/d; echo a >source/d/a; echo b >source/b");
  expect(await pass()).toEqual({ code: 0, deletions: [false] });
  await shell("echo longer >source/d/a; echo n >$'source/d/new\\nline'");
  expect(await pass()).toEqual({ code: 0, deletions: [false] });
  expect(await names("target")).toBe(await names("source"));
  await shell("cmp source/d/a target/d/a");
});

it.each([
  ["a file", "rm source/d/a"],
  ["a directory", "rm -r source/d"],
  ["a name that begins like another", "mv source/d/a source/d/ab"],
  ["a name that ends with a newline", "mv $'source/x\\n' source/x"],
  ["what is in a directory that became a file", "rm -r source/d; echo d >source/d"],
])("looks for them when the source lacks %s, and deletes it", async (_, change) => {
  await shell("mkdir source/d; echo a >source/d/a; echo b >source/b; echo x >$'source/x\\n'");
  await pass();
  await shell(change);
  expect(await pass()).toEqual({ code: 0, deletions: [false, true] });
  expect(await names("target")).toBe(await names("source"));
});

it("looks for them with a filter, which may protect a name", async () => {
  await shell("echo a >source/a; echo k >target/kept");
  expect(await pass("--exclude=kept")).toEqual({ code: 0, deletions: [true] });
  expect(await names("target")).toBe("f a\nf kept\n");
});

it("looks for them when the names cannot be listed", async () => {
  await shell("echo a >source/a; echo b >target/b; printf '#!/bin/sh\\nexit 1\\n' >bin/find; chmod +x bin/find");
  expect(await pass()).toEqual({ code: 0, deletions: [false, true] });
  expect(await names("target")).toBe("f a\n");
});

it("ends the listing, which holds the volume, with a pass that is killed", async () => {
  await shell(`printf '#!/bin/sh\\nexec sleep 61.7\\n' >bin/find; chmod +x bin/find`);
  const { stdout } = await shell(`export LSYNCD_SETTINGS=settings PATH="$PWD/bin:$PATH"
    ${join(programs, "rsync-wrapper")} ${options.join(" ")} $PWD/source/ $PWD/target/ & pass=$!
    listing() { pgrep -fx 'sleep 61.7'; }
    for i in {1..100}; do listing >/dev/null && break; sleep 0.1; done; listing >/dev/null && echo begun
    kill -KILL $pass; for i in {1..50}; do listing >/dev/null || break; sleep 0.1; done; listing || echo ended`);
  expect(stdout).toBe("begun\nended\n");
});

it("leaves the same mirror as with a filter that matches nothing, for random trees", async () => {
  const seed = process.env.SURPLUS_SEED ?? String(Date.now() % 1_000_000_000);
  const make = `import os, random, shutil, sys
r = random.Random(int(sys.argv[1]))
def fill(root, depth):
    for name in r.sample(["a", "b", "c", "a b", "ab", "é"], r.randrange(1, 5)):
        path, kind = f"{root}/{name}", r.randrange(4)
        if kind == 0 and depth < 3:
            os.mkdir(path)
            fill(path, depth + 1)
        elif kind == 1: os.symlink("elsewhere", path)
        else:
            with open(path, "w") as file: file.write("x" * r.randrange(3))
for root in ("source", "target"):
    shutil.rmtree(root); os.mkdir(root); fill(root, 0)
if r.randrange(2): shutil.rmtree("target"); shutil.copytree("source", "target", symlinks=True)
shutil.rmtree("again", ignore_errors=True); shutil.copytree("target", "again", symlinks=True)
`;
  writeFileSync(at("make.py"), make);
  let held = 0;
  for (let number = 0; number < 20; number++) {
    const one = String(Number(seed) + number);
    await shell(`rm -rf run; python3 make.py ${one}`);
    const found = await outcome();
    await shell("rm -rf run target; mv again target");
    const expected = await outcome("--exclude=matches-nothing");
    if (JSON.stringify(found) !== JSON.stringify(expected))
      throw new Error(`SURPLUS_SEED=${one}: ${JSON.stringify({ found, expected })}`);
    if (found.code === 0) expect(found.mirror).toBe(await names("source"));
    else held++;
  }
  expect(held).toBeLessThan(20);
});

/** The outcome of a pass: the mirror, and what the gate counted or why it held the mirror. */
async function outcome(...more: string[]) {
  const { code } = await pass(...more);
  const { stdout } = await shell(
    "cut -d' ' -f2- run/entries 2>/dev/null || sed 's/at [^:]*:[^:]*:[^:]*://; s/^held [0-9]*//' run/held",
  );
  return { code, mirror: await names("target"), counted: stdout };
}
