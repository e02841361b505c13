import { type ChildProcess, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { programs, writeSettings } from "../../tools/torture/settings";
import { run } from "../../toolchain/run";
import { installTime, needPrograms } from "./programs";

/** Arguments of perl with which a script has all functions of the copier's modules, and those of Copier.pm. */
export const copierModules = ["-I", programs, "-I", __dirname, "-MCopier"];
/** The options with which a real lsyncd 2.2.3 calls rsync (Debian 12; the letters of the first word have no order). */
export const OPTIONS = ["-WpglstoD", "--delete-after", "--inplace", "--no-perms", "--omit-dir-times"];
/** The directories of the running test, and the programs that are rendered for it. */
export let root: string, source: string, target: string, state: string, program: string;
let verifier: string;

/** Each test of the file gets empty volumes and the programs that copy and verify databases. */
export function useCopier(): void {
  beforeAll(() => needPrograms("rsync", "python3"), installTime);

  beforeEach(async () => {
    root = mkdtempSync(path.join(tmpdir(), "sqlite-mirror-"));
    [source, target, state] = ["source", "target", "state"].map((name) => path.join(root, name)) as [
      string,
      string,
      string,
    ];
    mkdirSync(source);
    mkdirSync(target);
    const guard = path.join(root, "guard");
    writeFileSync(guard, "#!/bin/sh\nexit 0\n", { mode: 0o755 });
    await settings({ guard });
    verifier = path.join(programs, "lsyncd-verify");
    program = path.join(programs, "sqlite-copier");
  });

  afterEach(async () => {
    await idle();
    rmSync(root, { recursive: true, force: true });
  });
}

/** Writes the settings of the running test, with other values for some names, for the programs to read. */
export async function settings(given: Record<string, unknown> = {}): Promise<void> {
  process.env.LSYNCD_SETTINGS = path.join(root, "settings");
  // As the supervisor names each run of lsyncd: without a name the copier takes any call for the first one after a power cut.
  process.env.LSYNCD_RUN = path.basename(root);
  const places = { source, target, state: path.join(root, "marks"), sqliteStateDirectory: state };
  await writeSettings(process.env.LSYNCD_SETTINGS, { ...places, ...given });
}

/** Compares the volumes of the running test, even if the test failed. */
export const verify = (...args: string[]): ReturnType<typeof run> =>
  run(verifier, args, { allowFailure: true, env: process.env });

/** Calls the program as lsyncd does: its worker outlives it, so this does not wait for the end of the output. */
export async function call(args: string[], input = ""): Promise<{ code: number | null }> {
  const log = openSync(path.join(root, "output"), "a");
  const child = spawn(program, args, { stdio: ["pipe", log, log], env: process.env });
  closeSync(log);
  child.stdin?.end(input);
  return new Promise((resolve) => {
    child.once("exit", (code) => {
      resolve({ code });
    });
  });
}

/** The call that lsyncd makes when it starts. The worker may still be copying. */
export const startFullPass = (): Promise<{ code: number | null }> =>
  call(["--delete", "--ignore-errors", ...OPTIONS, "-r", `${source}/`, `${target}/`]);

/** The same, and what it leads to. */
export async function fullPass(): Promise<{ code: number | null }> {
  const done = await startFullPass();
  await settled();
  return done;
}

/** The call that lsyncd makes for events: paths with all their parents, separated by NUL. The worker may still be copying. */
export async function startEvents(...paths: string[]): Promise<{ code: number | null }> {
  const all = new Set<string>();
  for (const one of paths) {
    all.add(one);
    for (let at = one.lastIndexOf("/", one.length - 2); at >= 0; at = one.lastIndexOf("/", at - 1)) {
      all.add(one.slice(0, at + 1));
      if (at === 0) break;
    }
  }
  const filters = ["--force", "--from0", "--include-from=-", "--exclude=*"];
  return call(
    [...OPTIONS, "-r", "--delete", "--ignore-errors", ...filters, `${source}/`, `${target}/`],
    [...all].join("\0"),
  );
}

/** The same, and what it leads to. */
export async function events(...paths: string[]): Promise<{ code: number | null }> {
  const done = await startEvents(...paths);
  await settled();
  return done;
}

/** The copier's list of databases that are behind. */
export function status(): string {
  const file = path.join(state, "status.tsv");
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

/** Waits until the worker has nothing left that it can do now. */
export async function settled(): Promise<void> {
  const since = Date.now() / 1000;
  for (let i = 0; i < 200; i++) {
    await sleep(50);
    const queues = ["queue", "queue.pass"].map((name) => path.join(state, name));
    if (queues.every((queue) => !existsSync(queue) || statSync(queue).size === 0)) return;
    const [, ...lines] = status().trimEnd().split("\n");
    if (lines.length > 0 && i > 40) return;
    // Earlier output does not belong to this call.
    const [, updated = 0] = /^updated\t([\d.]+)\tpending\t0\t/.exec(status()) ?? [];
    if (Number(updated) > since && i > 25) return;
  }
}

/** Waits for the worker's end, so that it does not outlive its directory. */
export async function idle(): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const free = await run("flock", ["-n", path.join(state, "worker.lock"), "true"], { allowFailure: true });
    if (free.code !== 1) return;
    if (i === 30) await run("truncate", ["-s", "0", path.join(state, "run")], { allowFailure: true });
    await sleep(100);
  }
}

/** Runs statements one by one, each committed, and exits without closing the database. Returns their output. */
export async function sql(file: string, ...statements: string[]): Promise<string> {
  const script = [
    "import sqlite3, sys",
    "c = sqlite3.connect(sys.argv[1], isolation_level=None)",
    "for s in sys.argv[2:]:",
    "  for row in c.execute(s): print(*row)",
    // Without a clean close, the -wal file stays as it is.
    "sys.stdout.flush(); import os; os._exit(0)",
  ].join("\n");
  return (await run("python3", ["-c", script, file, ...statements])).stdout.trim();
}

/** A process that keeps a database open after some statements, until it is killed. */
export async function hold(file: string, ...statements: string[]): Promise<ChildProcess> {
  const script = [
    "import sqlite3, sys, time",
    "c = sqlite3.connect(sys.argv[1], isolation_level=None)",
    "for s in sys.argv[2:]: c.execute(s).fetchall()",
    "print('ready', flush=True); time.sleep(60)",
  ].join("\n");
  const child = spawn("python3", ["-c", script, file, ...statements], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  return child;
}

/** Kills a process and waits for its end. */
export async function end(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

/** Opens a copy of a mirrored database and counts the rows of t. Rejects if it is missing: SQLite would open an empty one. */
export async function rows(name: string): Promise<string> {
  if (!existsSync(path.join(target, name))) throw new Error(`${name} is not in the mirror`);
  const copy = path.join(root, "opened");
  for (const suffix of ["", "-wal", "-journal", "-shm"]) {
    rmSync(copy + suffix, { force: true });
    if (existsSync(path.join(target, name) + suffix)) {
      await run("cp", [path.join(target, name) + suffix, copy + suffix]);
    }
  }
  return sql(copy, "pragma integrity_check", "select count(*) from t");
}

/** A statement that inserts this many rows of about 500 bytes. */
export const insert = (count: number): string =>
  `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count}) insert into t select i, randomblob(500) from n`;
/** A statement that creates the table for `insert`. */
export const create = "create table t (i, b)";
/** All names below a directory. */
export const tree = (directory: string): string[] =>
  (readdirSync(directory, { recursive: true }) as string[])
    .filter((name) => !/lost\+found|^\.lsyncd-as-code/.test(name))
    .sort();
