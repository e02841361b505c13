import { spawn, type ChildProcess } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// The first call of lsyncd leaves a process behind that has read all modules, and that does the next calls. A shell stands for lsyncd here.

jest.setTimeout(60_000);

let folder: string;
let library: string;
let lsyncd: ChildProcess | undefined;
const at = (name: string): string => join(folder, name);
const list = [
  "-WpglstoD",
  "--delete-after",
  "-r",
  "--delete",
  "--ignore-errors",
  "--force",
  "--from0",
  "--include-from=-",
  "--exclude=*",
];
const pass = ["-WpglstoD", "--delete-after", "-r", "--delete", "--ignore-errors"];

beforeAll(() => needPrograms("rsync", "strace"), installTime);
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-ready-"));
  for (const name of ["source", "target", "bin"]) mkdirSync(at(name));
  // The gate counts the entries of the mirror's file system, and others delete what they have in this one.
  writeFileSync(at("bin/df"), "#!/bin/sh\necho IUsed; echo 1000\n", { mode: 0o755 });
  // A guard that waits for as long as a file is there.
  writeFileSync(at("guard"), `#!/bin/sh\nwhile [ -e '${at("wait")}' ]; do sleep 0.02; done\n`, { mode: 0o755 });
  library = at("library");
  cpSync(programs, library, { recursive: true });
  await settings({ sqliteSafe: false });
  // Each line on its standard input is a call: it prints the exit code of each.
  lsyncd = spawn("bash", ["-c", `while read -r call; do eval "$call"; echo "code $?"; done`], {
    env: {
      ...process.env,
      ...{
        LSYNCD_SETTINGS: at("settings"),
        LSYNCD_READY: at("run/ready.1"),
        PATH: `${at("bin")}:${process.env.PATH ?? ""}`,
      },
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  said = "";
  for (const stream of [lsyncd.stdout, lsyncd.stderr])
    stream?.on("data", (chunk: Buffer) => (said += chunk.toString()));
});
afterEach(async () => {
  lsyncd?.kill("SIGKILL");
  await gone();
  rmSync(folder, { recursive: true, force: true });
});
let said = "";

const settings = (given: Record<string, unknown>) =>
  writeSettings(at("settings"), {
    ...{
      source: at("source"),
      target: at("target"),
      state: at("run"),
      guard: at("guard"),
      deletionLimit: 1e8,
      ...given,
    },
  });

/** Calls the wrapper as lsyncd does; returns its exit code. */
async function call(args: string[], paths: string[], by = ""): Promise<number> {
  const before = [...said.matchAll(/^code /gm)].length;
  const input = ["/", ...paths].join("\\0");
  const words = [join(library, "rsync-wrapper"), ...args, at("source/"), at("target/")]
    .map((word) => `'${word}'`)
    .join(" ");
  lsyncd?.stdin?.write(`printf '${input}' | ${by} ${words}\n`);
  const codes = (): string[] => [...said.matchAll(/^code (\d+)$/gm)].map(([, code = ""]) => code);
  for (let i = 0; i < 600 && codes().length <= before; i++) await sleep(50);
  return Number(codes()[before]);
}

/** The wrapper's processes of this test. */
const processes = (): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const words = readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0");
        return words[0]?.endsWith("perl") === true && words.includes(join(library, "rsync-wrapper"));
      } catch {
        return false;
      }
    })
    .map(Number);
const sockets = (): string[] => readdirSync(at("run")).filter((name) => name.startsWith("ready."));
async function until(what: string, is: () => boolean): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (is()) return;
    await sleep(50);
  }
  throw new Error(`${what}, but not within 10 seconds: ${said}`);
}
const gone = () => until("no process is left", () => processes().length === 0);

/** The modules that the program that lsyncd calls reads itself. */
const read = (): string[] =>
  [...readFileSync(at("trace"), "utf8").matchAll(/"[^"]*?LsyncdAsCode\/([\w/]+)\.pm".* = \d+$/gm)].map(
    ([, name = ""]) => name,
  );
const traced = (): string => `strace -e trace=openat -o '${at("trace")}'`;

it("does the second call, which reads no module but the one that hands it over", async () => {
  writeFileSync(at("source/a"), "a");
  expect(await call(list, ["/a"])).toBe(0);
  expect(sockets()).toHaveLength(1);
  writeFileSync(at("source/b"), "b");
  expect(await call(list, ["/b"], traced())).toBe(0);
  expect(read()).toEqual(["Handover"]);
  expect(readdirSync(at("target")).filter((name) => !name.startsWith("."))).toEqual(["a", "b"]);
  expect(processes()).toHaveLength(1);
  // Nothing of a call is left over in the next one, and none leaves a mark that it was killed.
  rmSync(at("source/a"));
  expect(await call(list, ["/a"])).toBe(0);
  expect(readdirSync(at("target")).filter((name) => !name.startsWith("."))).toEqual(["b"]);
  expect(readdirSync(at("run")).filter((name) => name.startsWith("pass."))).toEqual([]);
});

it("returns the exit code and the messages of the call", async () => {
  writeFileSync(at("source/a"), "a");
  await call(list, ["/a"]);
  writeFileSync(at("guard"), "#!/bin/sh\necho 'the guard refuses' >&2; exit 1\n", { mode: 0o755 });
  expect(await call(list, ["/a"], traced())).toBe(1);
  expect(read()).toEqual(["Handover"]);
  expect(said).toMatch(/^the guard refuses$/m);
});

it("reads no module for a call, with the copier of databases, too", async () => {
  await settings({ sqliteSafe: true, copyProgram: join(library, "sqlite-copier"), sqliteStateDirectory: at("state") });
  writeFileSync(at("source/a"), "a");
  await call(list, ["/a"]);
  const [ready = 0] = processes();
  const strace = spawn("strace", ["-f", "-e", "trace=openat,execve", "-o", at("trace"), "-p", String(ready)]);
  const attached = new Promise((resolve) => strace.stderr.once("data", resolve));
  await attached;
  writeFileSync(at("source/b"), "b");
  expect(await call(list, ["/b"])).toBe(0);
  strace.kill("SIGINT");
  await until("strace has written", () => readFileSync(at("trace"), "utf8").includes("settings/mirror.conf"));
  expect(read()).toEqual([]);
});

it("leaves a call whose standard input it cannot open to the program that was called", async () => {
  await call(list, ["/a"]);
  writeFileSync(at("source/b"), "b");
  // A socket has no name that another process could open.
  const socket = `python3 -c 'import socket, subprocess, sys
one, other = socket.socketpair(); one.send(sys.stdin.buffer.read()); one.close()
sys.exit(subprocess.call(sys.argv[1:], stdin=other))'`;
  writeFileSync(at("by"), `#!/bin/bash\nexec ${socket} "$@"\n`, { mode: 0o755 });
  expect(await call(list, ["/b"], at("by"))).toBe(0);
  expect(existsSync(at("target/b"))).toBe(true);
});

it("leaves a full pass to the program that was called", async () => {
  await call(list, ["/a"]);
  writeFileSync(at("source/c"), "c");
  expect(await call(pass, [], traced())).toBe(0);
  expect(read()).toContain("Gate");
  expect(existsSync(at("target/c"))).toBe(true);
});

/** Makes a second call, for b, that waits in the guard. Returns the process that was ready for it, and the exit code to come. */
async function underWay(): Promise<{ ready: number; calling: Promise<number> }> {
  writeFileSync(at("source/a"), "a");
  await call(list, ["/a"]);
  const [ready = 0] = processes();
  writeFileSync(at("wait"), "");
  writeFileSync(at("source/b"), "b");
  const calling = call(list, ["/b"]);
  await until("the call has begun", () => processes().length === 3);
  return { ready, calling };
}

it("ends a call whose program was ended, and does the next one", async () => {
  const { ready, calling } = await underWay();
  const [program = 0] = processes().filter((pid) => pid !== ready && parent(pid) !== ready);
  process.kill(program, "SIGTERM");
  expect(await calling).toBe(128 + 15);
  await until("only the ready process is left", () => processes().length === 1);
  expect(existsSync(at("target/b"))).toBe(false);
  // As with any call that was killed, its mark stays: the supervisor mirrors everything again.
  expect(readdirSync(at("run")).filter((name) => name.startsWith("pass."))).toHaveLength(1);
  rmSync(at("wait"));
  expect(await call(list, ["/b"], traced())).toBe(0);
  expect(read()).toEqual(["Handover"]);
});

it.each([
  ["the one that does it", "SIGKILL", (ready: number) => processes().find((pid) => parent(pid) === ready), 128 + 9],
  ["the one that does it", "SIGPIPE", (ready: number) => processes().find((pid) => parent(pid) === ready), 128 + 13],
  ["the ready one", "SIGKILL", (ready: number) => ready, 12],
] as const)("a call of which %s gets a %s fails, and nothing goes on", async (_, signal, victim, code) => {
  const { ready, calling } = await underWay();
  process.kill(victim(ready) ?? 0, signal);
  expect(await calling).toBe(code);
  await until("the call has ended", () => processes().filter((pid) => pid !== ready).length === 0);
  rmSync(at("wait"));
  expect(existsSync(at("target/b"))).toBe(false);
  expect(await call(list, ["/b"])).toBe(0);
  expect(existsSync(at("target/b"))).toBe(true);
});

it("does nothing after a deployment: the new programs do the next call", async () => {
  await call(list, ["/a"]);
  const before = processes();
  cpSync(library, at("new"), { recursive: true });
  writeFileSync(
    at("new/LsyncdAsCode/Pass.pm"),
    readFileSync(at("new/LsyncdAsCode/Pass.pm"), "utf8").replace(
      "package LsyncdAsCode::Pass;",
      "package LsyncdAsCode::Pass; warn 'the new version';",
    ),
  );
  renameSync(library, at("old"));
  renameSync(at("new"), library);
  expect(await call(list, ["/a"])).toBe(0);
  expect(said).toMatch(/the new version/);
  await until("the old one has ended", () => before.every((pid) => !existsSync(`/proc/${pid}`)));
  expect(await call(list, ["/a"], traced())).toBe(0);
  expect(read()).toEqual(["Handover"]);
});

it("fails a call during whose beginning the programs are exchanged, and lsyncd tries again", async () => {
  await call(list, ["/a"]);
  // The settings are read first, here from a pipe.
  const settings = readFileSync(at("settings/mirror.conf"));
  rmSync(at("settings/mirror.conf"));
  await run("mkfifo", [at("settings/mirror.conf")]);
  const calling = call(list, ["/a"]);
  await until("the call has begun", () => processes().length === 3);
  cpSync(library, at("new"), { recursive: true });
  renameSync(library, at("old"));
  renameSync(at("new"), library);
  writeFileSync(at("settings/mirror.conf"), settings);
  expect(await calling).toBe(12);
});

it("ends with its lsyncd", async () => {
  await call(list, ["/a"]);
  expect(processes()).toHaveLength(1);
  lsyncd?.kill("SIGKILL");
  await gone();
  expect(sockets()).toEqual([]);
});

it("ends when no call comes", async () => {
  await call(list, ["/a"]);
  await sleep(8000);
  expect(processes()).toHaveLength(1);
  await gone();
  expect(sockets()).toEqual([]);
  writeFileSync(at("source/a"), "a");
  expect(await call(list, ["/a"])).toBe(0);
  expect(existsSync(at("target/a"))).toBe(true);
});

it("is there for root only, and a socket left behind by a killed one does not matter", async () => {
  await call(list, ["/a"]);
  const [socket = ""] = sockets();
  expect((await run("stat", ["-c", "%a", at(`run/${socket}`)])).stdout).toBe("700\n");
  process.kill(processes()[0] ?? 0, "SIGKILL");
  await gone();
  expect(sockets()).toEqual([socket]);
  expect(await call(list, ["/a"])).toBe(0);
  expect(await call(list, ["/a"], traced())).toBe(0);
  expect(read()).toEqual(["Handover"]);
});

const parent = (pid: number): number => {
  try {
    return Number(/\) \S+ (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1"))?.[1]);
  } catch {
    return 0;
  }
};
