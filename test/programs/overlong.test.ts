import { mkdir, mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// A path that is too long for rsync, which then reports an error and deletes nothing in each pass over everything.

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = (text: string) => run("bash", ["-c", `set -e; cd '${folder}'; ${text}`]);

beforeAll(() => needPrograms("rsync"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-overlong-"));
  for (const name of ["source", "target", "run"]) await mkdir(at(name));
  await writeSettings(at("settings"), {
    source: at("source"),
    target: at("target"),
    state: at("run"),
    sqliteSafe: false,
  });
});
// Node cannot remove such paths.
afterEach(() => run("rm", ["-rf", folder]));

/** Directories in each other below the source, and a file in the last. */
const deep = (name: string, count: number) =>
  run("perl", ["-e", `chdir $ARGV[0] or die; for (1 .. ${String(count)}) { mkdir $ARGV[1]; chdir $ARGV[1] or die } open my $f, ">", "file" or die`, at("source"), name]); // prettier-ignore

async function pass(): Promise<{ code: number; text: string }> {
  const args = [
    join(programs, "rsync-wrapper"),
    "-WpglstoD",
    "--delete",
    "--ignore-errors",
    "-r",
    at("source/"),
    at("target/"),
  ];
  const env = { ...process.env, LSYNCD_SETTINGS: at("settings") };
  const { code, stdout, stderr } = await run("perl", args, { env, allowFailure: true });
  return { code, text: stdout + stderr };
}
const resync = async () => (await readdir(at("run"))).includes("resync");

it.each([
  ["long names", "d".repeat(200), 25],
  ["names with characters special to rsync", "d[*]\\?".repeat(30), 27],
])("is left out and reported once; the pass is complete and deletes: %s", async (_, name, count) => {
  await shell("echo {1..9} | tee source/{1..9} >/dev/null");
  expect(await pass()).toMatchObject({ code: 0, text: "" });
  await deep(name, count);
  await shell("rm source/1; echo new >source/new");
  const { code, text } = await pass();
  expect(code).toBe(0);
  expect(await resync()).toBe(false);
  const reported = text
    .split("\n")
    .filter((line) =>
      line.startsWith("rsync: not mirrored, because paths in it are longer than rsync supports (4,095 bytes): "),
    );
  expect(reported).toHaveLength(1);
  expect(reported[0]).toContain("d".repeat(name.startsWith("dd") ? 100 : 1));
  expect(text).not.toContain("skipping file deletion");
  expect((await readdir(at("target"))).filter((entry) => entry.length < 4)).toEqual(
    [2, 3, 4, 5, 6, 7, 8, 9, "new"].map(String),
  );
  // Everything above it is mirrored, as deep as rsync can go.
  const depth = Number((await shell("find target -type d | wc -l")).stdout);
  expect(depth).toBeGreaterThan(18);
  expect(await pass()).toMatchObject({ code: 0, text: "" });
  // Another one is reported, and that one again only once it was gone.
  await deep("e".repeat(200), 25);
  expect((await pass()).text.split("\n").filter((line) => line.includes("4,095 bytes"))).toEqual([
    expect.stringContaining("e".repeat(100)),
  ]);
});

it("leaves out no more than the directory that holds it", async () => {
  await deep("d".repeat(200), 20);
  const at20 = `source/${Array<string>(20).fill("d".repeat(200)).join("/")}`;
  // 4,020 bytes so far: one more name is short enough, and another is not.
  await shell(
    `mkdir source/other && echo x >source/other/file; cd '${at20}'; mkdir ${"s".repeat(20)} ${"t".repeat(70)} both; touch both/short both/${"l".repeat(80)}`,
  );
  const { code, text } = await pass();
  expect([code, text]).toEqual([0, text]);
  expect(text).toMatch(/^rsync: not mirrored, because paths .*\/both\. Shorten/m);
  // With the path of the volume before it, this one is too long.
  expect(text).toMatch(/^rsync: not mirrored, because paths .*\/t+\. Shorten/m);
  const names = (await shell("find target -mindepth 21 -printf '%f\\n'; cat target/other/file")).stdout
    .split("\n")
    .filter(Boolean);
  expect(names.sort()).toEqual(["file", "s".repeat(20), "x"]);
});
