import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// The wrapper, the copier and its worker together: which of them deletes databases, and when.

jest.setTimeout(120_000);

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = (text: string) => run("bash", ["-c", `cd '${folder}' && ${text}`]);
const mirrored = async () => (await readdir(at("target"))).filter((name) => !name.startsWith(".lsyncd")).sort();

/** Python with an open database of the source, until it is killed. */
const python = (text: string): ChildProcess =>
  spawn("python3", ["-c", `import sqlite3, time, sys\n${text}`], { cwd: at("source"), stdio: "inherit" });

async function eventually(check: () => Promise<boolean>, seconds = 20): Promise<void> {
  for (let i = 0; i < seconds * 10; i++) {
    if (await check()) return;
    await sleep(100);
  }
  throw new Error(`not within ${seconds} s: ${(await shell("cat state/status.tsv output; ls -a target")).stdout}`);
}

async function call(args: string[], input = ""): Promise<number> {
  // The gate counts the entries of the mirror's file system, and others delete what they have in this one.
  const env = { ...process.env, LSYNCD_SETTINGS: at("settings"), PATH: `${at("bin")}:${process.env.PATH ?? ""}` };
  // The worker outlives the call, so its output goes to a file.
  const command = `exec perl '${programs}/rsync-wrapper' "$@" >>'${at("output")}' 2>&1`;
  return (await run("bash", ["-c", command, "bash", ...args], { env, input, allowFailure: true })).code;
}

const options = [
  "-WpglstoD",
  "--delete",
  "--ignore-errors",
  "--delete-after",
  "--inplace",
  "--no-perms",
  "--omit-dir-times",
];
const pass = () => call([...options, "-r", at("source/"), at("target/")]);
const events = (...paths: string[]) =>
  call(
    [...options, "--force", "--from0", "--include-from=-", "--exclude=*", "-r", at("source/"), at("target/")],
    ["/", ...paths.map((path) => `/${path}`)].join("\0"),
  );

const given = () => ({
  ...{ source: at("source"), target: at("target"), sqliteStateDirectory: at("state"), state: at("marks") },
  ...{ copyProgram: join(programs, "sqlite-copier"), deletionLimit: 1e8 },
});

beforeAll(() => needPrograms("rsync", "python3"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-worker-"));
  await shell("mkdir source target bin && printf '#!/bin/sh\necho IUsed; echo 1000\n' >bin/df && chmod +x bin/df");
  await writeSettings(at("settings"), given());
  await shell(
    `cd source && for i in 1 2 3 4 5 6; do python3 -c "import sqlite3; c=sqlite3.connect('$i.sqlite'); c.executescript('create table t(x); insert into t values(zeroblob(5000))')"; done`,
  );
  expect(await pass()).toBe(0);
  await eventually(async () => (await mirrored()).length === 6);
});
afterEach(async () => {
  await sleep(3000); // an idle worker ends
  await rm(folder, { recursive: true, force: true });
});

it("a full pass scans the volumes once", async () => {
  const calls = at("calls");
  await shell(`printf '#!/bin/sh\\necho "$*" >>${calls}\\nexec rsync "$@"\\n' >rsync && chmod +x rsync`);
  await writeSettings(at("settings"), { ...given(), rsyncProgram: at("rsync") });
  await shell("cp source/1.sqlite source/7.sqlite && echo x >source/text");
  expect(await pass()).toBe(0);
  await eventually(async () => (await mirrored()).join(" ").endsWith("6.sqlite 7.sqlite text"));
  const of = (text: string): string[] => text.trimEnd().split("\n");
  const started = of((await shell("cat calls")).stdout);
  expect(started.map((one) => /--dry-run|--files-from=-/.exec(one)?.[0])).toEqual(["--dry-run", "--files-from=-"]);
  // A database in sync is also checked once.
  await sleep(3000);
  await shell("rm calls");
  expect(await pass()).toBe(0);
  expect(of((await shell("cat calls")).stdout)).toEqual([expect.stringContaining("--dry-run")]);
  // Earlier deletions by the gate change what rsync would do.
  await shell("mkdir source/d && touch source/d/a source/d/b && rm calls");
  expect(await pass()).toBe(0);
  await shell("rm -r source/d && echo y >source/d && rm calls");
  expect(await pass()).toBe(0);
  expect((await shell("cat target/d")).stdout).toBe("y\n");
  const asked = of((await shell("grep -e --dry-run calls")).stdout);
  // The first does not look for deletions, and there are some.
  expect(asked.map((one) => one.includes("--delete"))).toEqual([false, true, true]);
});

it("a waiting database is not deleted when its source is deleted, because this deletion was not counted", async () => {
  const writer = python(
    "c=sqlite3.connect('1.sqlite', isolation_level=None); c.execute('begin exclusive'); c.execute('insert into t values(1)'); time.sleep(60)",
  );
  try {
    await sleep(700);
    await shell("touch source/1.sqlite");
    expect(await events("1.sqlite")).toBe(0);
    await sleep(500);
    await shell("rm source/1.sqlite*");
  } finally {
    writer.kill("SIGKILL");
  }
  await sleep(3000);
  expect(await mirrored()).toContain("1.sqlite");
  // The pass over that change counts it.
  expect(await events("1.sqlite", "1.sqlite-journal")).toBe(0);
  await eventually(async () => !(await mirrored()).includes("1.sqlite"));
});

it("the worker deletes databases, with their directory", async () => {
  await shell("mkdir source/d && cp source/1.sqlite source/2.sqlite source/d/");
  expect(await pass()).toBe(0);
  await eventually(async () => (await shell("ls target/d 2>/dev/null | wc -l")).stdout.trim() === "2");
  await shell("rm -r source/d source/2.sqlite");
  expect(await events("d", "d/", "d/***", "2.sqlite")).toBe(0);
  await eventually(async () => (await mirrored()).join(" ") === "1.sqlite 3.sqlite 4.sqlite 5.sqlite 6.sqlite");
});

it("a -wal beside a directory that replaces a database is removed, counted by the gate", async () => {
  await shell("touch source/1.sqlite-wal");
  const writer = python(
    "c=sqlite3.connect('1.sqlite', isolation_level=None); c.execute('pragma journal_mode=wal'); c.execute('insert into t values(1)'); time.sleep(60)",
  );
  try {
    await eventually(async () => Number((await shell("stat -c %s source/1.sqlite-wal || true")).stdout) > 0);
    await eventually(async () => {
      await events("1.sqlite", "1.sqlite-wal");
      return (await mirrored()).includes("1.sqlite-wal");
    });
  } finally {
    writer.kill("SIGKILL");
  }
  await shell("rm source/1.sqlite* && mkdir source/1.sqlite && echo x >source/1.sqlite/text");
  expect(await events("1.sqlite", "1.sqlite-wal", "1.sqlite-shm", "1.sqlite/", "1.sqlite/text")).toBe(0);
  await eventually(async () => (await shell("cat target/1.sqlite/text || true")).stdout === "x\n");
  expect(await mirrored()).not.toContain("1.sqlite-wal");
});

it("a file beside one that is only named like a database is counted before it is removed", async () => {
  await shell("echo text >source/a.sqlite; for n in wal journal; do echo mine >source/a.sqlite-$n; done");
  expect(await events("a.sqlite", "a.sqlite-wal", "a.sqlite-journal")).toBe(0);
  await eventually(async () => (await mirrored()).join(" ").includes("a.sqlite a.sqlite-journal a.sqlite-wal"));
  // An event of the first file alone is no leave to delete the others.
  await shell("rm source/a.sqlite-*; echo more >>source/a.sqlite");
  expect(await events("a.sqlite")).toBe(0);
  await eventually(async () => (await shell("cat target/a.sqlite")).stdout === "text\nmore\n");
  await sleep(1000);
  expect(await mirrored()).toEqual(expect.arrayContaining(["a.sqlite-wal", "a.sqlite-journal"]));
  // Kept, as all that the gate deletes.
  await writeSettings(at("settings"), { ...given(), keepDeletedDays: 1 });
  expect(await events("a.sqlite-wal", "a.sqlite-journal")).toBe(0);
  await eventually(async () => !(await mirrored()).some((name) => name.startsWith("a.sqlite-")));
  const kept = (await shell("find target/.lsyncd-as-code/deleted -type f -printf '%f\\n' | sort")).stdout;
  expect(kept).toBe("a.sqlite-journal\na.sqlite-wal\n");
});

it("mirrors and deletes files that their user has named like unfinished copies, and not root's own directory", async () => {
  const files = [".lsyncd-rsync.a.sqlite", ".lsyncd-rsync.d/text", ".lsyncd-rsync.text", "d/.lsyncd-rsync.verify.mine"];
  const there = async (volume: string) =>
    (await shell(`cd ${volume} && find . -path '*/.lsyncd-rsync.*' -type f -printf '%P\\n' | sort`)).stdout;
  const all = `${files.join("\n")}\n`;
  await shell(`cd source && mkdir -p .lsyncd-rsync.d d/.lsyncd-rsync.private && touch d/.lsyncd-rsync.private/x
    cp 1.sqlite .lsyncd-rsync.a.sqlite && echo x | tee .lsyncd-rsync.d/text .lsyncd-rsync.text d/.lsyncd-rsync.verify.mine`);
  expect(await pass()).toBe(0);
  await eventually(async () => (await there("target")) === all);
  await shell("echo longer | tee source/.lsyncd-rsync.text source/.lsyncd-rsync.b");
  expect(await events(".lsyncd-rsync.text", ".lsyncd-rsync.b")).toBe(0);
  expect((await shell("cat target/.lsyncd-rsync.text target/.lsyncd-rsync.b")).stdout).toBe("longer\nlonger\n");
  // The verification finds a missing one.
  await shell("rm target/.lsyncd-rsync.b");
  const env = { ...process.env, LSYNCD_SETTINGS: at("settings") };
  const found = await run(join(programs, "lsyncd-verify"), ["--max-age", "0"], { env, allowFailure: true });
  expect(found.stdout + found.stderr).toMatch(/\.lsyncd-rsync\.b.*is missing in the mirror/);
  expect(found.stdout + found.stderr).not.toContain("private");
  await shell("rm -r source/.lsyncd-rsync.* source/d/.lsyncd-rsync.verify.mine");
  expect(
    await events(
      ".lsyncd-rsync.d",
      ".lsyncd-rsync.d/",
      ".lsyncd-rsync.d/***",
      ".lsyncd-rsync.text",
      "d/",
      "d/.lsyncd-rsync.verify.mine",
    ),
  ).toBe(0);
  expect(await pass()).toBe(0);
  await eventually(async () => (await there("target")) === "");
  expect(await mirrored()).toEqual(["1", "2", "3", "4", "5", "6"].map((name) => `${name}.sqlite`).concat("d"));
});

it("all of them are held, and none is deleted by anybody", async () => {
  await shell("rm source/*.sqlite");
  expect(await events(...["1", "2", "3", "4", "5", "6"].map((name) => `${name}.sqlite`))).toBe(1);
  await sleep(2500);
  expect(await mirrored()).toHaveLength(6);
});

it.each([
  ["and once", 106, "4 of its 106"],
  ["and once without a number of entries", 0, "4 of its"],
])("deletions that the worker has yet to carry out count with later ones, %s", async (_, entries, held) => {
  await shell(`rm marks/entries; printf '#!/bin/sh\\necho IUsed; echo ${entries}\\n' >bin/df`);
  await writeSettings(at("settings"), { ...given(), deletionLimit: 3, deletionShare: 1 });
  await sleep(3000); // the idle worker ends
  const busy = spawn("flock", [at("state/worker.lock"), "sleep", "60"], { stdio: "inherit" });
  try {
    await sleep(500);
    await shell("rm source/{1,2}.sqlite");
    expect(await events("1.sqlite", "2.sqlite")).toBe(0);
    // Also if lsyncd repeats a call.
    expect(await events("1.sqlite", "2.sqlite")).toBe(0);
    expect(await mirrored()).toHaveLength(6);
    await shell("rm source/{3,4}.sqlite");
    expect(await events("3.sqlite", "4.sqlite")).toBe(1);
    expect((await shell("cat output")).stdout).toContain(`${held} files and directories would have been deleted`);
  } finally {
    busy.kill("SIGKILL");
  }
  await sleep(1000);
  expect(await mirrored()).toEqual(expect.arrayContaining(["3.sqlite", "4.sqlite"]));
});

it("in a bind mount of a directory, files created beside the mirror do not hide deletions from it", async () => {
  await shell(
    "rm bin/df marks/entries; rm -r source/*; mkdir pool; mount -t tmpfs pool pool; mkdir pool/target; mount --bind pool/target target",
  );
  try {
    await writeSettings(at("settings"), { ...given(), deletionLimit: 100, deletionShare: 1 });
    await shell("touch source/{1..300}");
    expect(await pass()).toBe(0);
    for (const last of [40, 80]) {
      await shell(`rm source/{${last - 39}..${last}}; touch pool/{${last}..${last + 60}}`);
      expect(await events(...Array.from({ length: 40 }, (_, i) => String(last - i)))).toBe(0);
    }
    await shell("rm source/{81..120}; touch pool/{500..600}");
    expect(await events(...Array.from({ length: 40 }, (_, i) => String(120 - i)))).not.toBe(0);
    expect(await mirrored()).toHaveLength(220);
    expect((await shell("cat output")).stdout).toContain("120 of its files and directories would have been deleted");
  } finally {
    await shell("umount target pool");
  }
});
