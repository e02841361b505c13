import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { programs, writeSettings } from "./settings";

/** Options of a mirror. */
export interface MirrorOptions {
  lsyncd: string;
  /** An empty directory; source, target, state, bin and log are created in it. */
  root: string;
  /** `sqliteSafe`; false: rsync copies databases like any file. */
  safe: boolean;
  /** When a change counts to lsyncd; by default also while a file stays open. "": lsyncd's own. */
  inotifyMode?: string;
  /** Seconds. */
  delay?: number;
  /** In rsync's place, everywhere. */
  rsyncProgram?: string;
  /** Words before the command that starts lsyncd. */
  through?: string[];
}

/** A program of the mirror: lsyncd, what it calls in rsync's place, that one's copier, its rsync; who copies databases, and a big one. */
export const roles = ["lsyncd", "rsync-wrapper", "call", "rsync", "worker", "copy"] as const;
export type Role = (typeof roles)[number];

/** A real lsyncd between two directories, with everything it starts. */
export class Mirror {
  readonly source: string;
  readonly target: string;
  readonly state: string;
  private readonly config: string;
  private readonly settings: string;
  readonly marks: string;
  private process: ChildProcess | undefined;

  constructor(private readonly options: MirrorOptions) {
    this.source = path.join(options.root, "source");
    this.target = path.join(options.root, "target");
    this.state = path.join(options.root, "state");
    this.config = path.join(options.root, "lsyncd.conf.lua");
    this.settings = path.join(options.root, "settings");
    this.marks = path.join(options.root, "marks");
    for (const directory of [this.source, this.target, this.state]) mkdirSync(directory, { recursive: true });
  }

  /** Renders the programs and the configuration, with the documented rsync options. */
  async prepare(): Promise<void> {
    const { root, safe, delay = 1, inotifyMode = "CloseWrite or Modify" } = this.options;
    await writeSettings(this.settings, {
      ...{ source: this.source, target: this.target, state: this.marks },
      sqliteStateDirectory: this.state,
      ...(this.options.rsyncProgram === undefined ? {} : { rsyncProgram: this.options.rsyncProgram }),
      ...(safe ? { copyProgram: path.join(programs, "sqlite-copier") } : {}),
      // Other processes delete files on a test's file system, which must not hold the mirror.
      deletionLimit: 1e9,
    });
    const binary = path.join(programs, "rsync-wrapper");
    const when = inotifyMode === "" ? "" : `, inotifyMode = "${inotifyMode}"`;
    writeFileSync(
      this.config,
      `dofile("${programs}/lsyncd-log.lua")
assert(dofile("${programs}/lsyncd-delays.lua"))
settings { logfile = "${root}/lsyncd.log", statusFile = "${root}/lsyncd.status", nodaemon = true, insist = true${when} }
sync { default.rsync, source = "${this.source}/", target = "${this.target}/", delay = ${delay}, maxDelays = 10000,
  rsync = { binary = "${binary}", archive = true, compress = false, whole_file = true,
    _extra = { "--delete-after", "--inplace", "--no-perms", "--omit-dir-times" } } }
`,
    );
  }

  /** Starts lsyncd unless it lives. */
  start(): void {
    if (this.process?.exitCode === null && this.process.signalCode === null) return;
    const log = openSync(path.join(this.options.root, "output.log"), "a");
    // As the supervisor names each run of lsyncd.
    const run = `${String(Date.now())}.${String(process.pid)}`;
    const env = {
      ...process.env,
      LSYNCD_SETTINGS: this.settings,
      LSYNCD_RUN: run,
      LSYNCD_READY: path.join(this.marks, `ready.${run}`),
    };
    const [program, ...args] = [...(this.options.through ?? []), this.options.lsyncd, "-nodaemon", this.config];
    this.process = spawn(program, args, { stdio: ["ignore", log, log], env });
    closeSync(log);
  }

  /** Throws if lsyncd has ended unexpectedly: on a host systemd would restart it, here nothing does. */
  mustLive(): void {
    if (this.process?.exitCode === null && this.process.signalCode === null) return;
    const said = this.said().trimEnd().split("\n").slice(-5).join("\n");
    throw new Error(`lsyncd has ended by itself. It said last:\n${said}`);
  }

  /** Waits until the copier is idle. */
  async caughtUp(): Promise<void> {
    for (let i = 0; i < 600; i++) {
      const report = path.join(this.state, "status.tsv");
      if (!this.options.safe || (existsSync(report) && readFileSync(report, "utf8").includes("\tpending\t0\t"))) return;
      await sleep(100);
    }
    throw new Error("the copier did not catch up within a minute");
  }

  /** Ends lsyncd and waits until nothing that it started is left. */
  async stop(): Promise<void> {
    this.process?.kill("SIGTERM");
    for (let i = 0; i < 100 && this.processes().length > 0; i++) await sleep(100);
    this.kill();
  }

  /** Ends all of them at once. */
  kill(): void {
    // A process may be about to start another one.
    for (let found = this.freeze(); found.length > 0; found = []) this.signal(found, "SIGKILL");
  }

  /** Waits until none of them is left. */
  async gone(): Promise<void> {
    for (let i = 0; i < 100 && this.processes().length > 0; i++) await sleep(20);
  }

  /** The process ids of lsyncd and of all programs that it started: they inherit its settings, whatever their arguments are. */
  processes(): number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((name) => {
        try {
          const environment = readFileSync(`/proc/${name}/environ`, "latin1").split("\0");
          return environment.includes(`LSYNCD_SETTINGS=${this.settings}`);
        } catch {
          return false;
        }
      })
      .map(Number);
  }

  /** Freezes all of them. Returns the stopped processes, for `thaw`. */
  freeze(): number[] {
    const stopped = new Set<number>();
    // A process may be about to start another one, and has no environment while it does: look until there was no new one twice.
    for (let quiet = 0; quiet < 2; quiet++) {
      const found = this.processes().filter((pid) => !stopped.has(pid));
      this.signal(found, "SIGSTOP");
      for (const pid of found) stopped.add(pid);
      if (found.length > 0) quiet = -1;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
    return [...stopped];
  }

  /** The role of each of them, and its start in seconds since 1970. */
  private found(): { pid: number; role: Role; began: number }[] {
    const uptime = Number(readFileSync("/proc/uptime", "latin1").split(" ")[0]);
    const found = new Map<number, { parent: number; began: number; name: string }>();
    for (const pid of this.processes()) {
      try {
        const [, name = "", rest = ""] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, "latin1")) ?? [];
        const fields = rest.split(" ");
        // Fields 4 and 22 of proc_pid_stat(5); the kernel counts in hundredths of a second.
        const began = Date.now() / 1000 - uptime + Number(fields[19]) / 100;
        found.set(pid, { parent: Number(fields[1]), began, name });
      } catch {
        // It has ended meanwhile.
      }
    }
    const lsyncd = this.process?.pid ?? 0;
    const role = (pid: number, parent: number, name: string): Role => {
      if (pid === lsyncd) return "lsyncd";
      // One of these waits for calls and does them: both are no children of lsyncd.
      if (name === "rsync" || name === "rsync-wrapper") return name;
      // The worker outlives the call that started it.
      if (name === "sqlite-copier") return found.has(parent) ? "copy" : "worker";
      return "call";
    };
    return [...found].map(([pid, { parent, began, name }]) => ({ pid, role: role(pid, parent, name), began }));
  }

  /** Its processes at this moment. */
  running(): Set<Role> {
    return new Set(this.found().map(({ role }) => role));
  }

  /** When the copies of big databases began that are under way, in seconds since 1970. */
  copies(): number[] {
    return this.found()
      .filter(({ role }) => role === "copy")
      .map(({ began }) => began);
  }

  thaw(stopped: number[]): void {
    this.signal(stopped, "SIGCONT");
  }

  /** kill -9 of a process of that role, as soon as there is one. False when none came. */
  async killOne(role: Role): Promise<boolean> {
    for (let i = 0; i < 300; i++) {
      const victims = this.found().filter((one) => one.role === role);
      const victim = victims[Math.floor(Math.random() * victims.length)];
      if (victim) {
        this.signal([victim.pid], "SIGKILL");
        return true;
      }
      await sleep(10);
    }
    return false;
  }

  /** lsyncd's status file; empty while there is none. */
  status(): string {
    const file = path.join(this.options.root, "lsyncd.status");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  /** The output of its programs, without lsyncd's own messages. */
  said(): string {
    return readFileSync(path.join(this.options.root, "output.log"), "utf8");
  }

  private signal(pids: number[], signal: NodeJS.Signals): void {
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended meanwhile.
      }
    }
  }
}
