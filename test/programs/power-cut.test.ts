import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "../../infra/paths";
import { run } from "../../toolchain/run";
import { cutFileSystem } from "../../tools/sandbox/volumes";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// Ordinary files in the mirror after a power cut, and after the next start: first on a file system that really loses what was not on
// its disk, then with the results of a cut made by hand.

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = (text: string) => run("bash", ["-c", `set -e; cd '${folder}'; ${text}`]);
const text = (name: string) => readFile(at(name), "utf8").catch(() => "");
const record = () => text("target/.lsyncd-as-code/unsynced");

beforeAll(() => needPrograms("rsync", "mount", "losetup", "mkfs.ext4", "strace"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-cut-"));
  for (const name of ["source", "target", "run", "bin"]) await mkdir(at(name));
  // The size of a test's file system is no measure of the loss.
  await writeFile(at("bin/df"), "#!/bin/sh\necho IUsed; echo 1000000\n", { mode: 0o755 });
  await settings({});
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const settings = (more: Record<string, unknown>) =>
  writeSettings(at("settings"), { source: at("source"), target: at("target"), state: at("run"), ...more });

async function call(start: string, args: string[], input = ""): Promise<{ code: number; text: string }> {
  const env = {
    ...process.env,
    ...{ PATH: `${at("bin")}:${process.env.PATH}`, LSYNCD_SETTINGS: at("settings"), LSYNCD_RUN: start },
  };
  const words = [
    join(programs, "rsync-wrapper"),
    "-WpglstoD",
    "--delete",
    "--ignore-errors",
    "--delete-after",
    ...args,
  ];
  const ends = ["-r", at("source/"), at("target/")];
  const { code, stdout, stderr } = await run("perl", [...words, ...ends], { env, input, allowFailure: true });
  return { code, text: stdout + stderr };
}
/** A full pass; `start` identifies one start of lsyncd. */
const pass = (start: string, ...options: string[]) => call(start, options);
const events = (start: string, ...list: string[]) =>
  call(start, ["--force", "--from0", "--include-from=-", "--exclude=*"], ["/", ...list].join("\0"));

/** The result of a cut: right size, owner, mode and time, but only zeros. */
const zero = (...names: string[]) =>
  shell(
    names
      .map(
        (name) =>
          `truncate -s 0 target/${name}; truncate -r source/${name} target/${name}; touch -r source/${name} target/${name}`,
      )
      .join("\n"),
  );
const equal = () => shell("diff -r -x lost+found -x .lsyncd-as-code source target");

describe("a file system that loses power", () => {
  // The kernel writes names, sizes and times to disk every second, and contents after half a minute.
  beforeEach(() => shell("truncate -s 64M disk; mkfs.ext4 -q disk; mount -o loop,commit=1 disk target"));
  afterEach(() => shell("umount -l target"));

  async function cutPower(): Promise<void> {
    await sleep(2500);
    await run(...cutFileSystem(at("target")));
    // Another disk with the same content: the kernel keeps a file system while any container has it mounted.
    await shell("umount -l target; cp --sparse=always disk again; mount -o loop again target");
  }

  // As lsyncd calls it with wholeFile: false, where rsync writes in place; and with an option that has the same effect.
  it.each([["--no-whole-file", "--inplace"], ["--preallocate"]])(
    "after a pass with %s: files of zeros have the right size and time, and the next start repairs them",
    async (...options) => {
      await settings({ sqliteSafe: false });
      await shell(`for i in {1..40}; do head -c $((3000 + RANDOM)) /dev/urandom >source/$i.sqlite; done`);
      expect((await pass("one", ...options)).code).toBe(0);
      await equal();
      await cutPower();
      const broken = (
        await shell(`cd source; for i in *; do [ $(stat -c '%s %y' $i | md5sum | cut -c1-9) != \
        $(stat -c '%s %y' ../target/$i | md5sum | cut -c1-9) ] || cmp -s $i ../target/$i || echo $i; done`)
      ).stdout;
      // Without such files there would be nothing to repair, and the test would prove nothing.
      expect(broken.split("\n").length).toBeGreaterThan(10);
      expect(await record()).toMatch(/^one \d+\n$/);
      const { code, text: said } = await pass("two", ...options);
      expect({ code, held: await text("run/held") }).toEqual({ code: 0, held: "" });
      expect(said).toContain("the mirror was not stopped cleanly");
      await equal();
    },
    60_000,
  );

  it("after a pass of whole files: files have another size, which rsync detects by itself", async () => {
    await shell(`for i in {1..40}; do head -c $((3000 + RANDOM)) /dev/urandom >source/$i; done`);
    expect((await pass("one")).code).toBe(0);
    await cutPower();
    expect((await shell("cd target; find . -maxdepth 1 -type f -size 0 | wc -l")).stdout).toBe("40\n");
    const { code, text: said } = await pass("two");
    expect(code).toBe(0);
    expect(said).not.toContain("mirrored again");
    await equal();
  }, 60_000);
});

describe("the record of unsynced files", () => {
  it("exists before anything is written, and stays unchanged until a sync", async () => {
    await writeFile(
      at("bin/copier"),
      `#!/bin/sh\ncp target/.lsyncd-as-code/unsynced seen; exec ${paths.rsyncProgram} "$@"\n`
        .replaceAll("target/", at("target/"))
        .replace("seen", at("seen")),
      { mode: 0o755 },
    );
    await settings({ copyProgram: at("bin/copier") });
    await shell("echo a >source/a");
    await pass("one");
    expect(await text("seen")).toMatch(/^one \d+\n$/);
    await sleep(1100);
    const before = await record();
    await shell("echo b >source/b");
    await events("one", "/b");
    expect(await record()).toBe(before);
  });

  it("is on disk before rsync runs", async () => {
    await shell("echo a >source/a");
    await writeFile(at("bin/rsync"), `#!/bin/sh\nexec ${paths.rsyncProgram} "$@"\n`, { mode: 0o755 });
    await settings({ rsyncProgram: at("bin/rsync"), copyProgram: at("bin/rsync") });
    const env = { ...process.env, PATH: `${at("bin")}:${process.env.PATH}`, LSYNCD_SETTINGS: at("settings") };
    const words = [
      "-f",
      "-qq",
      "-y",
      "-e",
      "trace=fsync,rename,renameat2,execve",
      "-o",
      at("calls"),
      "perl",
      join(programs, "rsync-wrapper"),
    ];
    await run("strace", [...words, "-WpglstoD", "--delete", "-r", at("source/"), at("target/")], { env });
    const calls = (await text("calls"))
      .split("\n")
      .map((line) =>
        /fsync\(\d+<[^>]*unsynced\.new>/.test(line)
          ? "content"
          : /rename(?:at2)?\(.*unsynced\.new"/.test(line)
            ? "name"
            : /fsync\(\d+<[^>]*\.lsyncd-as-code>/.test(line)
              ? "directory"
              : /execve\(.*bin\/rsync"/.test(line) && !line.includes("--dry-run")
                ? "rsync"
                : "",
      )
      .filter(Boolean);
    expect(calls.slice(0, 4)).toEqual(["content", "name", "directory", "rsync"]);
  });

  it("that cannot be written does not block the pass, which is synced at its end", async () => {
    await shell(
      "mkdir -m 700 target/.lsyncd-as-code; mkdir -p target/.lsyncd-as-code/unsynced.new/x; echo a >source/a",
    );
    const env = { ...process.env, PATH: `${at("bin")}:${process.env.PATH}`, LSYNCD_SETTINGS: at("settings") };
    const words = ["-f", "-qq", "-e", "trace=syncfs", "-o", at("calls"), "perl", join(programs, "rsync-wrapper")];
    const { stderr } = await run("strace", [...words, "-WpglstoD", "-r", at("source/"), at("target/")], { env });
    expect(stderr).toContain("no record of what is not synced yet: cannot write unsynced: ");
    expect(await text("target/a")).toBe("a\n");
    expect(await text("calls")).toContain("syncfs(");
  });
});

describe("a start after an unclean stop", () => {
  it("mirrors files again that were written since the record and differ, and reads no others", async () => {
    await shell("for i in old new same; do echo $i$RANDOM >source/$i; done");
    await pass("one");
    await zero("old");
    await sleep(3100);
    // As the supervisor moves it forward.
    await writeFile(at("target/.lsyncd-as-code/unsynced"), `one ${Math.floor(Date.now() / 1000) - 1}\n`, {
      mode: 0o600,
    });
    await sleep(1100);
    await zero("new");
    await shell("touch -r source/same target/same");
    const { code, text: said } = await pass("two");
    expect(code).toBe(0);
    expect(said).toMatch(
      /the mirror was not stopped cleanly: 2 of its files changed since .*; 1 differed, and are mirrored again\n {2}new\n/,
    );
    await shell('cmp source/new target/new; [ "$(stat -c %y source/new)" = "$(stat -c %y target/new)" ]');
    // It was changed before the record, so it was not read.
    await expect(shell("cmp source/old target/old")).rejects.toThrow();
    // Only once.
    expect(await record()).toMatch(/^two /);
    expect((await pass("two")).text).toBe("");
  });

  it("is not complete after a pass that is killed", async () => {
    await shell("echo right >source/a");
    await pass("one");
    await zero("a");
    await writeFile(at("bin/rsync"), "#!/bin/sh\nkill -9 $PPID\n", { mode: 0o755 });
    await settings({ rsyncProgram: at("bin/rsync") });
    await pass("two");
    expect(await text("target/a")).not.toBe("right\n");
    await settings({});
    expect((await pass("three")).code).toBe(0);
    expect(await text("target/a")).toBe("right\n");
  });

  it("deletes no good copy if the source itself contains only zeros", async () => {
    await shell("echo good >source/a; cp -p source/a good");
    await pass("one");
    await shell("truncate -s 0 source/a; truncate -s 5 source/a; touch -r good source/a; touch -r good target/a");
    const { code, text: said } = await pass("two");
    expect(code).toBe(0);
    expect(said).toMatch(/^power cut: a holds only zeros in the source, and other content in the mirror/m);
    expect(await text("target/a")).toBe("good\n");
  });

  it("leaves databases to the copier, which syncs its copies", async () => {
    await shell("echo x >source/a.sqlite");
    await pass("one");
    await zero("a.sqlite");
    await pass("two");
    expect(await text("target/a.sqlite")).not.toBe("x\n");
  });

  it("does not count as an attack, even with more than half of all files", async () => {
    await writeFile(at("bin/df"), "#!/bin/sh\necho IUsed; echo 200\n", { mode: 0o755 });
    await shell("for i in {1..150}; do echo content $i $RANDOM >source/$i; done");
    await pass("one");
    await zero(...Array.from({ length: 150 }, (_, index) => String(index + 1)));
    expect((await pass("two")).code).toBe(0);
    expect(await text("run/held")).toBe("");
    await equal();
  });

  it("follows no link that replaced a file, and reads no FIFO", async () => {
    await shell("echo secret >outside; echo right >source/a; mkfifo source/p; ln -s ../outside source/L");
    await pass("one");
    await shell("rm target/a; ln -s ../outside target/a");
    expect((await pass("two")).code).toBe(0);
    expect(await text("outside")).toBe("secret\n");
    expect((await readdir(at("target"))).sort()).toEqual([".lsyncd-as-code", "L", "a", "p"]);
  });
});
