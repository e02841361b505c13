import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { paths } from "../../infra/paths";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// A file that is too big for the mirror, beside others. The mirror is a file system of 64 MB in memory.

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = (text: string) => run("bash", ["-c", `set -e; cd '${folder}'; ${text}`]);

beforeAll(() => needPrograms("rsync", "mount", "mkfs.btrfs", "mkfs.xfs"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-room-"));
  for (const name of ["source", "target", "run", "bin"]) await mkdir(at(name));
  await shell("mount -t tmpfs -o size=64M,mode=755 room target");
  // The size of a test's file system is no measure of the loss.
  await writeFile(at("bin/df"), "#!/bin/sh\necho IUsed; echo 1000000\n", { mode: 0o755 });
  await writeSettings(at("settings"), {
    ...{ source: at("source"), target: at("target"), state: at("run"), sqliteSafe: false },
  });
});
afterEach(() => shell("umount target; rm -rf '" + folder + "'"));

async function call(args: string[], input: string): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await run(
    "perl",
    [join(programs, "rsync-wrapper"), ...options, ...args, ...ends()],
    {
      env: { ...process.env, PATH: `${at("bin")}:${process.env.PATH}`, LSYNCD_SETTINGS: at("settings") },
      input,
      allowFailure: true,
    },
  );
  return { code, text: stdout + stderr };
}
const options = ["-WpglstoD", "--delete", "--ignore-errors", "--delete-after", "--inplace", "-r"];
const ends = () => [at("source/"), at("target/")];
const pass = () => call([], "");
const events = (...list: string[]) =>
  call(["--force", "--from0", "--include-from=-", "--exclude=*"], ["/", ...list].join("\0"));
// Without the gate's own directory there.
const mirrored = async () => (await readdir(at("target"))).filter((name) => name !== ".lsyncd-as-code").sort();
// The files that the last passes left out, as the monitor reads them.
const left = async () =>
  (await readFile(at("run/no-room"), "utf8").catch(() => "")).split("\0").filter((name) => name !== "");
const marked = (name: string) => readdir(at("run")).then((names) => names.includes(name));
const resync = () => marked("resync");

// The file without room: 3 GB that take no space in the source.
beforeEach(() =>
  shell("truncate -s 3G 'source/b[i]g'; echo a >source/a; echo z >source/z; truncate -s 20M source/fits"),
);

it("does not block other files: by events", async () => {
  const { code, text } = await events("/a", "/b\\[i\\]g", "/fits", "/z");
  // Partly done, to be tried again.
  expect(code).toBe(23);
  expect(await resync()).toBe(true);
  expect(text).toMatch(
    /^no room in the mirror for b\[i\]g: it needs 3222 MB, \d+ are free\. Everything else is mirrored$/m,
  );
  expect(await mirrored()).toEqual(["a", "fits", "z"]);
});

it("does not block other files: by a full pass, also after it was half written", async () => {
  expect((await pass()).code).toBe(23);
  const others = ["a", "fits", "z"];
  expect((await mirrored()).filter((name) => name !== "b[i]g")).toEqual(others);
  await shell("cmp source/z target/z; [ $(stat -c %b 'target/b[i]g' 2>/dev/null || echo 0) = 0 ]");
  // From now on it is known, and no longer fills the volume first.
  await shell("echo new >source/y; rm source/a");
  const { code, text } = await pass();
  expect(code).toBe(23);
  expect(text).not.toMatch(/No space left/);
  expect((await mirrored()).filter((name) => name !== "b[i]g")).toEqual(["fits", "y", "z"]);
  // The monitor names the file itself.
  expect(await marked("left-behind")).toBe(false);
});

it("is mirrored once there is room", async () => {
  await events("/b\\[i\\]g");
  await shell("truncate -s 30M 'source/b[i]g'");
  expect((await pass()).code).toBe(0);
  await shell("cmp 'source/b[i]g' 'target/b[i]g'");
  expect(await readdir(at("run"))).not.toContain("no-room");
});

it("leaves an existing good copy in the mirror unchanged", async () => {
  await shell(
    "rm 'source/b[i]g'; truncate -s 20M source/grows; echo good | dd of=source/grows conv=notrunc status=none",
  );
  expect((await pass()).code).toBe(0);
  await shell("cp -p target/grows good; truncate -s 3G source/grows; echo more >source/more");
  expect((await events("/grows", "/more")).code).toBe(23);
  await shell("cmp good target/grows");
  expect(await readFile(at("target/more"), "utf8")).toBe("more\n");
});

it("does not block the others where rsync notices first that its other half has ended (exit code 10)", async () => {
  await writeFile(
    at("bin/rsync"),
    `#!/bin/bash\n${paths.rsyncProgram} "$@"; code=$?; [ $code != 11 ] || exit 10; exit $code\n`,
    { mode: 0o755 },
  );
  await writeSettings(at("settings"), {
    ...{ source: at("source"), target: at("target"), state: at("run"), sqliteSafe: false },
    ...{ rsyncProgram: at("bin/rsync"), copyProgram: at("bin/rsync") },
  });
  expect((await pass()).code).toBe(23);
  expect((await mirrored()).filter((name) => name !== "b[i]g")).toEqual(["a", "fits", "z"]);
});

describe("on a file system with a quota, which has room (btrfs)", () => {
  beforeEach(() =>
    shell(`umount target; rm source/*; truncate -s 600M disk; mkfs.btrfs -q disk >/dev/null 2>&1; mkdir pool; mount -o loop disk pool
      btrfs quota enable pool; btrfs subvolume create pool/t >/dev/null; btrfs qgroup limit 60M pool/t; mount --bind pool/t target
      chmod 755 target; head -c 90000000 /dev/urandom >source/big; head -c 20000000 /dev/urandom >source/a; echo z >source/z`),
  );
  afterEach(() => shell("umount target pool; mount -t tmpfs room target"));

  it.each(["events", "a pass over everything"])("a file over it does not block the others: by %s", async (how) => {
    const { code, text } = how === "events" ? await events("/a", "/big", "/z") : await pass();
    expect(code).toBe(23);
    expect(text).toMatch(
      /^no room in the mirror for big: it needs 91 MB, [345]\d are free\. Everything else is mirrored$/m,
    );
    expect(await mirrored()).toEqual(["a", "z"]);
    await shell("cmp source/a target/a; cmp source/z target/z");
    expect(await resync()).toBe(true);
  });

  describe("in a directory that has its own", () => {
    beforeEach(() =>
      shell(`btrfs qgroup limit none pool/t; btrfs subvolume create target/own >/dev/null; btrfs qgroup limit 40M target/own
        chmod 755 target/own; mkdir source/own; mv source/big source/own; head -c 5000000 /dev/urandom >source/own/fits`),
    );

    it.each(["events", "a pass over everything"])("a big file is left out alone: by %s", async (how) => {
      const changed = ["/a", "/own/", "/own/big", "/own/fits", "/z"];
      const { code, text } = how === "events" ? await events(...changed) : await pass();
      expect([code, text]).toEqual([
        23,
        expect.stringMatching(/^no room in the mirror for own\/big: it needs 91 MB, /m),
      ]);
      await shell("cmp source/a target/a; cmp source/z target/z; cmp source/own/fits target/own/fits");
      await shell("[ ! -e target/own/big ]; btrfs qgroup limit none target/own");
      expect((await pass()).code).toBe(0);
      await shell("cmp source/own/big target/own/big");
    });

    it("so are many small files, by a pass over everything, which follows a list that could not be mirrored whole", async () => {
      await shell("rm source/own/big; for i in $(seq 400); do head -c 200000 /dev/urandom >source/own/$i; done");
      const small = [...Array(400).keys()].map((index) => `/own/${String(index + 1)}`);
      expect((await events("/a", "/own/", ...small, "/z")).code).toBe(23);
      expect([await resync(), await marked("left-behind")]).toEqual([true, true]);
      await shell("cmp source/a target/a; cmp source/z target/z; echo new >source/z");
      const { code, text } = await pass();
      expect([code, text]).toEqual([23, expect.stringMatching(/^no room in the mirror for own/m)]);
      await shell("cmp source/z target/z");
      expect(await left()).not.toEqual([]);
      // A later list changes nothing about that.
      expect((await events("/z")).code).toBe(0);
      expect(await left()).not.toEqual([]);
      await shell("btrfs qgroup limit none target/own");
      expect((await pass()).code).toBe(0);
      await shell("diff -r source/own target/own");
      expect(await left()).toEqual([]);
    });
  });
});

it("does not block the others on XFS, and deletes there", async () => {
  await shell("umount target; truncate -s 400M disk; mkfs.xfs -q disk; mount -o loop disk target; chmod 755 target");
  expect((await pass()).code).toBe(23);
  await shell("rm source/a");
  expect((await pass()).code).toBe(23);
  expect((await mirrored()).filter((name) => name !== "b[i]g")).toEqual(["fits", "z"]);
  await shell("cmp source/fits target/fits; [ $(stat -c %a target/.lsyncd-as-code) = 700 ]");
});
