import { mkdir, mkdtemp, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// A target whose disk or file system fails although it is mounted read-write. The volume is a real ext4 in a file.

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = async (text: string) => (await run("bash", ["-c", `set -e; cd '${folder}'; ${text}`])).stdout.trim();
const disk = (how: string) => run(join(programs, "volume-disk"), [how, "target", at("target")], { allowFailure: true });

/** ext4's reaction to a journal that cannot be written; the kernel offers it for tests. */
const abort = () => shell("mount -o remount,abort target; ! touch target/x 2>/dev/null; test -w target");
const repair = () => shell("umount target; e2fsck -fy image >/dev/null 2>&1 || true; mount -o loop image target");

beforeAll(() => needPrograms("rsync", "mount", "mkfs.ext4"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-disk-"));
  for (const name of ["source", "target", "run", "bin"]) await mkdir(at(name));
  await shell("truncate -s 64M image; mkfs.ext4 -q image; mount -o loop image target");
});
afterEach(() => shell(`umount target; rm -rf '${folder}'`));

describe("volume-disk", () => {
  it("reports nothing for a working volume, and leaves nothing on it", async () => {
    for (const how of ["write", "read"]) expect(await disk(how)).toMatchObject({ code: 0, stdout: "", stderr: "" });
    expect(await readdir(at("target"))).toEqual(["lost+found"]);
  });

  it("names the volume and the disk when writes fail, and reports nothing after the repair", async () => {
    const device = await shell("findmnt -n -o SOURCE target");
    await abort();
    expect(await disk("write")).toMatchObject({
      code: 1,
      stdout:
        `the target volume at ${at("target")} cannot be written (Read-only file system): ${device} or its file system has failed.` +
        " Look at `dmesg`, unmount it, repair or replace it, and mount it again\n",
    });
    expect((await disk("read")).stdout).toMatch(
      /^the file system of the target volume at \S+ \(\/dev\/loop\d+\) has recorded \d+ errors, the last at \d{4}-.*e2fsck\)\n$/,
    );
    await repair();
    for (const how of ["write", "read"]) expect(await disk(how)).toMatchObject({ code: 0, stdout: "" });
  });

  it("does not wait for a disk that is busy", async () => {
    await needPrograms("strace");
    const traced = await run("strace", [
      "-f",
      "-e",
      "trace=fsync,fdatasync,syncfs,sync",
      join(programs, "volume-disk"),
      "write",
      "target",
      at("target"),
    ]);
    expect(traced.stderr).not.toMatch(/sync\w*\(/);
  });

  it("names the disk when it cannot be read, although all requested data is in memory", async () => {
    await shell("truncate -s 20M image; ls target >/dev/null");
    expect((await disk("read")).stdout).toContain("is on a disk that cannot be read (Input/output error): /dev/loop");
    await shell("truncate -s 64M image");
    expect(await disk("read")).toMatchObject({ code: 0, stdout: "" });
  });

  it("accepts a full volume as working", async () => {
    await shell(
      "dd if=/dev/zero of=target/ballast bs=1M 2>/dev/null || true; cat /dev/zero >target/rest 2>/dev/null || true",
    );
    for (const how of ["write", "read"]) expect(await disk(how)).toMatchObject({ code: 0, stdout: "" });
  });

  it("works where the file system does not support unnamed files", async () => {
    const script = `use LsyncdAsCode::Disk; use Errno 'EOPNOTSUPP';
      no warnings 'redefine'; *LsyncdAsCode::Disk::scratch_file = sub { $! = EOPNOTSUPP; return undef };
      print LsyncdAsCode::Disk::write_fault('target', '${at("target")}', '${at("target")}') // 'fine'`;
    const write = async () => (await run("perl", ["-I", programs, "-e", script])).stdout;
    expect(await write()).toBe("fine");
    expect(await readdir(at("target/.lsyncd-as-code"))).toEqual([]);
    await abort();
    expect(await write()).toContain("cannot be written (Read-only file system)");
  });
});

describe("a pass", () => {
  const pass = () =>
    run("perl", [join(programs, "rsync-wrapper"), "-WpglstoD", "--delete", "-r", at("source/"), at("target/")], {
      env: { ...process.env, LSYNCD_SETTINGS: at("settings") },
      allowFailure: true,
    });

  it("stops before it changes the mirror, gives the reason, and mirrors after the repair", async () => {
    await writeSettings(at("settings"), {
      ...{ source: at("source"), target: at("target"), state: at("run"), sqliteSafe: false },
    });
    await writeFile(at("source/a"), "a");
    await abort();
    const refused = await pass();
    // Exit code 1 ends lsyncd, which then waits for the guard.
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /^the target volume at \S+ cannot be written \(Read-only file system\): \/dev\/loop\d+ or/m,
    );
    expect(refused.stderr).not.toContain("rsync");
    await repair();
    expect((await pass()).code).toBe(0);
    expect(await readdir(at("target"))).toContain("a");
  });
});
