import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path, { join } from "node:path";
import { run } from "../../toolchain/run";
import { library } from "../support/host-settings";
import { writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// rsync on volumes that a user can change: it sets no mode by a path, and where it writes in place, the kernel confines it to the target.
// A user who swaps names: hostile-user.

const program = join(library, "volume-rsync");
const inPlace = ["-aH", "--modify-window=-1", "--inplace", "--no-whole-file"];
let folder: string;

beforeAll(() => needPrograms("rsync", "strace", "python3", "setfacl", "setfattr"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-in-place-"));
  await shell("mkdir source target outside; echo mine >outside/file; chmod 755 .");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function shell(script: string, env: Record<string, string> = {}): Promise<{ code: number; text: string }> {
  const options = { cwd: folder, env: { ...process.env, ...env }, allowFailure: true };
  const { code, stdout, stderr } = await run("timeout", ["50", "bash", "-ec", script], options);
  return { code, text: stdout + stderr };
}
const confined = (command: string, ...options: string[]) =>
  shell(
    `printf '#!/bin/bash\\n%s\\n' '${command}' >other; chmod +x other; ${program} ${options.join(" ")} source/ target/`,
    {
      LSYNCD_RSYNC: join(folder, "other"),
    },
  );

/** Settings for the host's programs, and programs of the folder before others: the environment for them. */
async function settings(copier: boolean): Promise<Record<string, string>> {
  await writeSettings(join(folder, "settings"), {
    ...{
      source: join(folder, "source"),
      target: join(folder, "target"),
      state: join(folder, "run"),
      deletionLimit: 1e8,
    },
    copyProgram: copier ? join(library, "sqlite-copier") : "/usr/bin/rsync",
  });
  return { LSYNCD_SETTINGS: join(folder, "settings"), PATH: `${folder}/bin:${process.env.PATH ?? ""}` };
}

it("mirrors files, links, hard links, FIFOs and directories, and changes a file in its place", async () => {
  await shell(
    `cd source; mkdir -p d/e; echo a >d/a; ln d/a b; ln -s a d/l; mkfifo d/f; head -c 3000000 /dev/urandom >big`,
  );
  expect(await shell(`${program} ${inPlace.join(" ")} source/ target/`)).toMatchObject({ code: 0, text: "" });
  const inode = async () => (await shell("stat -c %i target/big")).text;
  const before = await inode();
  await shell(
    "printf x | dd of=source/big bs=1 seek=1500000 conv=notrunc status=none; rm -f target/d/l; ln -s elsewhere target/d/l",
  );
  expect((await shell(`${program} ${inPlace.join(" ")} source/ target/`)).code).toBe(0);
  expect(
    (await shell("cmp source/big target/big; diff -r --no-dereference source/d/e target/d/e; readlink target/d/l"))
      .text,
  ).toBe("a\n");
  expect(await inode()).toBe(before);
  expect((await shell("stat -c %h target/b")).text).toBe("2\n");
});

it.each([
  ["a write", "echo x >../outside/file"],
  ["a truncation", ": >../outside/file"],
  ["a new file", "echo x >../outside/new"],
  ["a new directory", "mkdir ../outside/new"],
  ["a deletion", "rm ../outside/file"],
  ["a link from the outside", "ln ../outside/file in"],
  ["a write through a link of the target", "ln -s ../outside/file to; echo x >to"],
  ["a write to the source", "echo x >../source/new"],
])("%s outside of the target is refused by the kernel, whatever rsync does", async (_, command) => {
  // It is possible without.
  expect(
    (await shell(`cp -a outside kept; cd target; ${command}; cd ..; rm -rf outside target/* source/*; mv kept outside`))
      .code,
  ).toBe(0);
  const { code, text } = await confined(command, "--inplace");
  expect(code).toBe(1);
  expect(text).toMatch(/Permission denied|Invalid cross-device link|Too many levels of symbolic links/);
  expect((await shell("cat outside/file; ls outside source")).text).toBe("mine\noutside:\nfile\n\nsource:\n");
});

it("the target is written to", async () => {
  expect(await confined("echo x >new; mkdir d; mv new d/; ln d/new e", "--inplace")).toMatchObject({
    code: 0,
    text: "",
  });
});

it("a comparison is not confined, and a pass is, in place or not", async () => {
  const said = `echo "$@"; echo x >../outside/file || true`;
  expect((await confined(said, "--inplace", "--dry-run")).text).toMatch(
    /^--chmod=u-s,Fg-s --filter=-x security.capability --filter=-x system.\* --inplace --dry-run \/proc\/self\/fd\/\d+\/ \.\/\n$/,
  );
  expect((await confined(said, "-a")).text).toMatch(
    /^--chmod=u-s,Fg-s --filter=-x security.capability --filter=-x system.\* -a \/proc\/self\/fd\/\d+\/ \.\/\n.*Permission denied/,
  );
});

describe("a pass is limited by the kernel:", () => {
  it.each([
    ["it reads nothing outside of the volumes", "cat ../outside/file", /Permission denied/],
    ["it reads the source", `cat "\${@: -2:1}in"`, /^mine too\n$/],
    ["it sets no set-user-ID bit", "touch file; chmod 4755 file", /Operation not permitted/],
    ["it sets a set-group-ID bit", "touch file; chmod 2755 file; stat -c %A file", /^-rwxr-sr-x\n$/],
    ["what it makes is in a group without rights", "touch file; stat -c %g file", /^65534\n$/],
    [
      "it gives a file no capabilities",
      `touch file; PATH=/usr/bin; python3 -c "import os, struct; os.setxattr(\\"file\\", \\"security.capability\\", struct.pack(\\"<5I\\", 0x2000001, 128, 0, 0, 0))"`,
      /Operation not permitted/,
    ],
    ["it follows no link of a volume", "ln -s ../target/. link; ls link/", /Too many levels of symbolic links/],
    ["a link of a volume is a link", "ln -s there link; readlink link", /^there\n$/],
  ])("%s", async (_, command, expected) => {
    await shell("echo mine too >source/in");
    expect((await confined(command, "-a")).text).toMatch(expected);
  });

  it("a file of another group gets no set-group-ID bit where modes are those of the mirror", async () => {
    const command = "touch file; chgrp 42 file; chmod 2755 file; stat -c %A file";
    expect((await confined(command, "-a", "--no-perms")).text).toBe("-rwxr-xr-x\n");
    expect((await confined(command, "-a")).text).toBe("-rwxr-sr-x\n");
  });

  it("a directory may have any bit, and keeps its set-group-ID bit where modes are mirrored", async () => {
    await shell(
      "mkdir -m 4755 source/user; mkdir -m 2775 source/group; chgrp 42 source/*; chmod 4755 source/user; chmod 2775 source/group",
    );
    expect(await shell(`${program} --archive --acls --xattrs source/ target/`)).toEqual({ code: 0, text: "" });
    expect((await shell("stat -c %A target/*")).text).toBe("drwxrwsr-x\ndrwxr-xr-x\n");
  });

  it("it ends with the process that has started it", async () => {
    await shell("head -c 20000000 /dev/zero >source/big");
    const { text } =
      await shell(`bash -c '${program} -a --bwlimit=1M source/ target/; true' & sleep 1; kill -9 $!; sleep 1
      before=$(du -s target); sleep 1.5; [ "$before" != "$(du -s target)" ] || echo it has ended`);
    expect(text).toContain("it has ended");
  });

  it("a volume cannot be unmounted while it is used", async () => {
    await shell("mount -t tmpfs none target; head -c 20000000 /dev/zero >source/big");
    try {
      const { code, text } = await shell(`${program} -a --bwlimit=1M source/ target/ >/dev/null 2>&1 & pid=$!; sleep 1
        umount target; code=$?; kill $pid; exit $code`);
      expect([code, text]).toEqual([32, expect.stringContaining("target is busy")]);
    } finally {
      await shell("umount -l target");
    }
  });

  it("--xattrs alone mirrors no ACL", async () => {
    await shell("touch source/file; setfacl -m u:1234:rwx source/file; setfattr -n user.note -v kept source/file");
    expect(await shell(`${program} -rt --xattrs source/ target/`)).toEqual({ code: 0, text: "" });
    expect((await shell("getfacl -cn target/file; getfattr -d target/file")).text).toMatch(
      /^(?![^]*1234)[^]*user\.note="kept"/,
    );
  });

  // Where rsync holds no handle of the directory it sets the ACL of a socket by its path, which also follows a link.
  it("it sets no ACL by a path", async () => {
    const deep = "d/".repeat(66);
    await shell(`mkdir -p source/${deep} && cd source/${deep}
      python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'; touch file; setfacl -m u:1234:rwx socket file`);
    expect(await shell(`${program} -aAX source/ target/`)).toEqual({ code: 0, text: "" });
    const acl = async (name: string) => (await shell(`getfacl -cn target/${deep}${name}`)).text;
    expect(await acl("file")).toContain("user:1234:rwx");
    expect(await acl("socket")).not.toContain("1234");
    await shell("rm -rf target/*; rsync -aAX source/ target/");
    expect(await acl("socket")).toContain("user:1234:rwx");
  });
});

it("the copier's own rules, which are outside of the volumes, are read", async () => {
  await shell(`mkdir -p source/d target/d/a.sqlite; touch target/d/a.sqlite/1
    python3 -c "import sqlite3; sqlite3.connect('source/d/a.sqlite').execute('create table t (x)')"`);
  const copier = `${library}/sqlite-copier -lptgosWD --no-perms --delete -r $PWD/source/ $PWD/target/`;
  const { code, text } = await shell(
    `${copier}; code=$?
    for i in {1..50}; do if [ -s target/d/a.sqlite ]; then break; fi; sleep 0.1; done; stat -c %F target/d/a.sqlite; exit $code`,
    await settings(true),
  );
  expect([code, text]).toEqual([0, "regular file\n"]);
});

// rsync 3.5 looks for the target by its name, and that of a volume that is no longer mounted is the root's.
it.each(["rsync-wrapper", "the copier"])(
  "a target that is unmounted lazily is not replaced by another directory: %s",
  async (copier) => {
    const name = `lsyncd-as-code-${path.basename(folder)}`;
    await shell(`mkdir source/${name}; echo x >source/${name}/file; mount -t tmpfs none target; mkdir run
    printf '#!/bin/sh\necho IUsed; echo 1000; umount -l ${folder}/target' >other; chmod +x other; mkdir bin; mv other bin/df`);
    try {
      const env = await settings(copier === "the copier");
      const { text } = await shell(`${library}/rsync-wrapper -lptgosWD --no-perms -r $PWD/source/ $PWD/target/`, env);
      expect(text).toContain("getcwd");
      expect((await shell(`ls -d /${name} target/*`)).text).not.toMatch(/^\S*lsyncd-as-code/m);
    } finally {
      await shell(`mountpoint -q target && umount -l target; rm -rf /${name}`);
    }
  },
);

// rsync 3.5 sets a link's mode by its path. strace shows how the C library would do it: by a handle that only names the file.
describe("the mode of a link is not set, by", () => {
  const traced = async (command: string) => {
    await shell(`mkdir -p source/d; echo x >source/d/file; chmod 640 source/d/file; chmod 711 source/d; ln -s file source/d/link; ln -s x source/top
      python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("source/d/socket")'; mkdir bin
      printf '#!/bin/sh\necho IUsed; echo 1000\n' >bin/df; chmod +x bin/df`);
    const env = await settings(command.startsWith("copier"));
    const trace = "strace -f --seccomp-bpf -o trace -e trace=openat,chmod,fchmodat";
    const { code, text } = await shell(
      `${trace} ${command.replace("copier ", "")} $PWD/source/ $PWD/target/ 2>&1`,
      env,
    );
    const made = await shell("cd target; stat -c '%A %n' d d/file d/socket d/link top; readlink d/link top");
    const calls = (await shell("cat trace")).text.split("\n");
    return { code, text, made: made.text, calls };
  };
  const byName = /O_NOFOLLOW\|O_CLOEXEC\|O_PATH\) += \d|^\d+ +chmod\(/;
  const wrapper = join(library, "rsync-wrapper");

  it.each([
    ["rsync alone, to compare", "rsync -lptgosWD --no-perms -r", true],
    ["volume-rsync", `${program} -lptgosWD --no-perms -r`, false],
    ["volume-rsync in place", `${program} -lptgosD --inplace --no-whole-file --no-perms -r`, false],
    ["a pass of the wrapper", `${wrapper} -lptgosWD --no-perms -r`, false],
    ["a pass of the copier", `copier ${wrapper} -lptgosWD --no-perms -r`, false],
  ])("%s", async (_, command, sets) => {
    const { code, text, made, calls } = await traced(command);
    expect([code, text]).toEqual([0, ""]);
    expect(made).toBe(
      "drwx--x--x d\n-rw-r----- d/file\nsrwxr-xr-x d/socket\nlrwxrwxrwx d/link\nlrwxrwxrwx top\nfile\nx\n",
    );
    expect(calls.some((call) => byName.test(call))).toBe(sets);
  });
});

it("writes nothing in place where the kernel cannot confine it", async () => {
  // A process can be confined sixteen times.
  const often = `my $rights = pack "Q", 1;
    sub rules { my $rules = syscall 444, $rights, 8, 0; my $rule = pack "Q l", 1, 0; syscall 445, $rules, 1, $rule, 0; return $rules }
    for (1 .. 16) { syscall(446, rules(), 0) == 0 or die "not confined: $!" }
    die "not often enough" if syscall(446, rules(), 0) == 0;
    exec @ARGV`;
  const { code, text } = await shell(
    `printf '#!/bin/bash\\necho "$@"\\n' >other; chmod +x other; exec 0</; perl -e '${often}' ${program} --inplace -a source/ target/`,
    { LSYNCD_RSYNC: join(folder, "other") },
  );
  expect([code, text]).toEqual([
    0,
    expect.stringMatching(
      /^--chmod=u-s,Fg-s --filter=-x security.capability --filter=-x system.\* -a \/proc\/self\/fd\/\d+\/ \.\/\n$/,
    ),
  ]);
});
