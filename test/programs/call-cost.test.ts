import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// The cost of a call of lsyncd for databases, counted in programs started and modules read. While databases change, there is a call
// each second.

jest.setTimeout(120_000);

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = (text: string) => run("bash", ["-c", `cd '${folder}' && ${text}`]);
const guard = join(programs, "lsyncd-guard");
const options = ["-WpglstoD", "--delete-after", "--no-perms", "--omit-dir-times", "-r", "--delete", "--ignore-errors"];
const list = [...options, "--force", "--from0", "--include-from=-", "--exclude=*"];

/** Calls the wrapper with a list of these paths, by way of another program; the caller lives until the copier is idle. */
async function call(by: string[], ...names: string[]) {
  const command = `"$@" >>'${at("output")}' 2>&1; code=$?; sleep 3.5; exit $code`;
  const args = [...by, join(programs, "rsync-wrapper"), ...list, at("source/"), at("target/")];
  return run("bash", ["-c", command, "bash", ...args], {
    // The gate counts the entries of the mirror's file system, and others delete what they have in this one.
    env: { ...process.env, LSYNCD_SETTINGS: at("settings"), PATH: `${at("bin")}:${process.env.PATH ?? ""}` },
    input: ["/", ...names.map((name) => `/${name}`)].join("\0"),
    allowFailure: true,
  });
}

/** The programs that were started, in their order, from what strace wrote (which interrupts a line for another process's). */
const started = (file: string): string[] =>
  readFileSync(at(file), "utf8")
    .split("\n")
    .filter((line) => !line.includes(" = -1 "))
    .flatMap((line) => /execve\("[^"]*?([^"/]+)",/.exec(line)?.[1] ?? []);

beforeAll(() => needPrograms("rsync", "python3", "strace"), installTime);
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-call-"));
  mkdirSync(at("source"));
  mkdirSync(at("target"));
  await shell("mkdir bin && printf '#!/bin/sh\necho IUsed; echo 1000\n' >bin/df && chmod +x bin/df");
  await settings({});
  await shell(
    `python3 -c "import sqlite3; c=sqlite3.connect('source/a.sqlite'); c.executescript('create table t(x)')"`,
  );
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const settings = (given: Record<string, unknown>) =>
  writeSettings(at("settings"), {
    ...{ source: at("source"), target: at("target"), sqliteStateDirectory: at("state"), state: at("marks") },
    ...{ copyProgram: join(programs, "sqlite-copier"), deletionLimit: 1e8, ...given },
  });

it("the wrapper is the only Perl of a call, and rsync is not started", async () => {
  expect((await call(["strace", "-f", "-e", "trace=execve", "-o", at("trace")], "a.sqlite")).code).toBe(0);
  expect(existsSync(at("target/a.sqlite"))).toBe(true);
  // The last one is the worker, which was not there yet.
  expect(started("trace")).toEqual(["rsync-wrapper", "true", "df", "sqlite-copier"]);
});

it("a directory that was deleted costs a look at that directory: rsync is not asked about all the others", async () => {
  // The gate would hold a mirror that loses nearly all of it.
  await shell(`mkdir -p source/d/e && for i in {1..60}; do echo $i >source/$i.txt; done
    for copy in d/e/b.sqlite d/e/header; do cp source/a.sqlite source/$copy; done
    echo x >source/d/text && cp -a source/. target && rm -r source/d`);
  const { code } = await call(
    ["strace", "-f", "-e", "trace=execve", "-o", at("trace")],
    ...["a.sqlite", "d/", "d/***", "d/e/", "d/e/***"],
  );
  expect(code).toBe(0);
  expect((await shell("ls target | grep -v txt")).stdout).toBe("a.sqlite\n");
  expect(started("trace")).not.toContain("rsync");
});

it("one worker serves changes that keep coming", async () => {
  const sqlite = (file: string, code: string): string =>
    `python3 -c "import sqlite3; c = sqlite3.connect('${at(file)}'); ${code}"`;
  const insert = sqlite("source/a.sqlite", "c.execute('insert into t values (1)'); c.commit()");
  // This shell stands for lsyncd.
  const lsyncd = `for i in {1..12}; do sleep 0.3; ${insert}; printf '/\\0/a.sqlite' | "$@" || exit; done`;
  const traced = ["strace", "-f", "-e", "trace=execve", "-o", at("trace"), "bash", "-c", lsyncd, "bash"];
  expect((await call(traced)).code).toBe(0);
  const { stdout } = await shell(sqlite("target/a.sqlite", "print(*c.execute('select count(*) from t').fetchone())"));
  expect(stdout).toBe("12\n");
  expect(started("trace").filter((name) => name === "sqlite-copier")).toEqual(["sqlite-copier"]);
});

/** Calls the wrapper for everything, by way of another program. */
const pass = async (by: string[]): Promise<void> => {
  const text = `"$@" '${at("source/")}' '${at("target/")}' >>'${at("output")}' 2>&1; code=$?; sleep 3.5; exit $code`;
  const env = { ...process.env, LSYNCD_SETTINGS: at("settings"), PATH: `${at("bin")}:${process.env.PATH ?? ""}` };
  const wrapper = join(programs, "rsync-wrapper");
  expect((await run("bash", ["-c", text, "bash", ...by, wrapper, ...options], { env })).code).toBe(0);
};

it("the first pass starts its worker in advance, and a later one does not", async () => {
  for (const [database, option] of [
    ["a.sqlite", "--prepared"],
    ["b.sqlite", "--work"],
  ] as const) {
    await shell(`[ -e source/${database} ] || cp source/a.sqlite source/${database}`);
    await pass(["strace", "-f", "-s", "200", "-e", "trace=execve", "-o", at("trace")]);
    expect(existsSync(at(`target/${database}`))).toBe(true);
    expect(started("trace").filter((name) => name === "sqlite-copier")).toHaveLength(1);
    expect(readFileSync(at("trace"), "utf8")).toContain(`"${option}"`);
  }
});

it("a worker that was started in advance holds no volume open", async () => {
  await shell("printf '#!/bin/sh\nsleep 2\nexec rsync \"$@\"\n' >bin/slow && chmod +x bin/slow");
  await settings({ rsyncProgram: at("bin/slow") });
  const passing = pass([]);
  let held = "";
  for (let i = 0; i < 30 && held === ""; i++) {
    await sleep(50);
    held = await heldBy("--prepared");
  }
  // Its order comes from a pipe.
  expect(held).toContain("pipe:");
  expect(held).not.toContain(at("source"));
  expect(held).not.toContain(at("target"));
  await passing;
});

/** The files that the worker that runs with this option has open. */
const heldBy = async (option: string): Promise<string> => {
  const look = `for p in $(pgrep -f 'sqlite-copier ${option}'); do tr '\\0' '\\n' </proc/$p/environ | grep -qF '${at("settings")}' && readlink /proc/$p/fd/*; done; true`;
  return (await shell(look)).stdout;
};

it("the worker is a program of its own and holds no volume open", async () => {
  const calling = call([], "a.sqlite");
  let held = "";
  for (let i = 0; i < 100 && held === ""; i++) {
    await sleep(50);
    if (!existsSync(at("target/a.sqlite"))) continue;
    held = await heldBy("--work");
  }
  // Its pipe, lock and queues.
  expect(held).toContain(at("state/worker.lock"));
  expect(held).not.toContain(at("source"));
  expect(held).not.toContain(at("target"));
  await calling;
});

it("a call reads no module of Perl that takes longer to read than the call to do", async () => {
  const opened = ["strace", "-f", "-e", "trace=openat", "-o", at("trace")];
  // With a worker there is no more to do than to wake it.
  await Promise.all([call([], "a.sqlite"), sleep(1500).then(() => call(opened, "a.sqlite"))]);
  const modules = [...readFileSync(at("trace"), "utf8").matchAll(/"[^"]*?([\w-]+(?:\/[\w-]+)?\.pm)".* = \d+$/gm)];
  const read = new Set(modules.map(([, module]) => module));
  expect(read).toContain("LsyncdAsCode/Call.pm");
  for (const heavy of ["perl-base/POSIX.pm", "IO/Handle.pm", "IO/File.pm", "LsyncdAsCode/Worker.pm"])
    expect(read).not.toContain(heavy);
});

describe("the guard", () => {
  const asked = (...records: string[]) =>
    run("strace", ["-f", "-e", "trace=execve", "-o", at("trace"), guard, "--running", ...records], {
      env: { ...process.env, LSYNCD_SETTINGS: at("settings") },
      allowFailure: true,
    });

  it("starts no Perl for records that its caller has read, and one for each volume otherwise", async () => {
    await asked("", "");
    expect(started("trace").filter((name) => name === "perl")).toEqual([]);
    await asked();
    expect(started("trace").filter((name) => name === "perl")).toEqual(["perl", "perl"]);
  });

  it("uses those records", async () => {
    for (const records of [
      ["in-use since", ""],
      ["", "in-use since"],
      ["", "unknown"],
    ])
      expect((await asked(...records)).stderr).toMatch(/the mirror is in use/);
    expect((await asked("mirroring", "mirroring x")).stderr).not.toMatch(/in use/);
  });

  it.each(["source", "target"])("is given what the %s remembers of a failover", async (volume) => {
    await settings({ guard });
    const library = `. '${programs}/failover.sh'`;
    await shell(`${library}; volume_record '${at(volume)}' 'in-use of a test'`);
    expect((await call([], "a.sqlite")).code).toBe(1);
    expect(readFileSync(at("output"), "utf8")).toMatch(/the mirror is in use/);
  });
});
