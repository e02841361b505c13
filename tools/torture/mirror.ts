import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { renderPrograms } from "./render";
import { paths } from "../../infra/paths";

/** How a mirror is run. */
export interface MirrorOptions {
  lsyncd: string;
  /** A directory of its own; it gets source, target, state, bin and log in it. */
  root: string;
  /** false: lsyncd calls rsync itself, as documented. */
  safe: boolean;
  /** Seconds. */
  delay?: number;
}

/** A real lsyncd between two directories, with everything it starts. */
export class Mirror {
  readonly source: string;
  readonly target: string;
  readonly state: string;
  private readonly bin: string;
  private readonly config: string;
  private process: ChildProcess | undefined;

  constructor(private readonly options: MirrorOptions) {
    this.source = path.join(options.root, "source");
    this.target = path.join(options.root, "target");
    this.state = path.join(options.root, "state");
    this.bin = path.join(options.root, "bin");
    this.config = path.join(options.root, "lsyncd.conf.lua");
    for (const directory of [this.source, this.target, this.state]) mkdirSync(directory, { recursive: true });
  }

  /** Renders the programs and the configuration, with the documented rsync options. */
  async prepare(): Promise<void> {
    const { root, safe, delay = 1 } = this.options;
    await renderPrograms(this.bin, { sqliteStateDirectory: this.state, source: this.source, target: this.target });
    const binary = safe ? path.join(this.bin, "lsyncd-rsync") : paths.rsyncProgram;
    writeFileSync(
      this.config,
      `settings { logfile = "${root}/lsyncd.log", statusFile = "${root}/lsyncd.status", nodaemon = true, insist = true,
  inotifyMode = "CloseWrite or Modify" }
sync { default.rsync, source = "${this.source}/", target = "${this.target}/", delay = ${delay},
  rsync = { binary = "${binary}", archive = true, compress = false, whole_file = true,
    _extra = { "--delete-after", "--inplace", "--no-perms", "--omit-dir-times" } } }
`,
    );
  }

  /** Starts lsyncd unless it lives. */
  start(): void {
    if (this.process?.exitCode === null && this.process.signalCode === null) return;
    const log = openSync(path.join(this.options.root, "output.log"), "a");
    this.process = spawn(this.options.lsyncd, ["-nodaemon", this.config], { stdio: ["ignore", log, log] });
    closeSync(log);
  }

  /** Ends lsyncd and waits until nothing that it started is left. */
  async stop(): Promise<void> {
    this.process?.kill("SIGTERM");
    for (let i = 0; i < 100 && this.processes().length > 0; i++) await sleep(100);
    this.kill();
  }

  /** Ends all of them at once. */
  kill(): void {
    this.signal(this.processes(), "SIGKILL");
  }

  /** The process ids of lsyncd, the wrapper, its worker and rsync, told by the paths on their command lines. */
  processes(): number[] {
    const marks = [this.config, `${this.bin}/lsyncd-rsync`, `${this.target}/`];
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((name) => {
        try {
          const [program = "", ...rest] = readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0");
          return /(lsyncd|rsync|perl)$/.test(program) && rest.some((word) => marks.includes(word));
        } catch {
          return false;
        }
      })
      .map(Number);
  }

  /** Stops all of them where they are. Returns who was stopped, for `thaw`. */
  freeze(): number[] {
    const stopped = new Set<number>();
    // A process may be about to start another one: look until there is no new one.
    for (let before = -1; before !== stopped.size;) {
      before = stopped.size;
      const found = this.processes();
      this.signal(found, "SIGSTOP");
      for (const pid of found) stopped.add(pid);
    }
    return [...stopped];
  }

  /** When the calls of lsyncd and the copies of big databases began that are under way, in seconds since 1970. */
  running(): { calls: number[]; copies: number[] } {
    const uptime = Number(readFileSync("/proc/uptime", "latin1").split(" ")[0]);
    const found = new Map<number, { parent: number; began: number }>();
    for (const pid of this.processes()) {
      try {
        const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
          .replace(/^.*\) /, "")
          .split(" ");
        // Fields 4 and 22 of proc_pid_stat(5); the kernel counts in hundredths of a second.
        const began = Date.now() / 1000 - uptime + Number(fields[19]) / 100;
        found.set(pid, { parent: Number(fields[1]), began });
      } catch {
        // It ended by itself meanwhile.
      }
    }
    const lsyncd = this.process?.pid ?? 0;
    const calls = [...found.values()].filter(({ parent }) => parent === lsyncd);
    const copies = [...found].filter(([, { parent }]) => parent !== lsyncd && found.has(parent));
    return {
      calls: calls.map(({ began }) => began),
      // Not the rsync of a call, which is a child of it.
      copies: copies.filter(([, { parent }]) => found.get(parent)?.parent !== lsyncd).map(([, { began }]) => began),
    };
  }

  thaw(stopped: number[]): void {
    this.signal(stopped, "SIGCONT");
  }

  /** kill -9 of one of them, at random. Returns what it was; undefined if there was none. */
  killOne(): string | undefined {
    const found = this.processes();
    const victim = found[Math.floor(Math.random() * found.length)];
    if (victim === undefined) return undefined;
    let name = "gone";
    try {
      name = readFileSync(`/proc/${victim}/comm`, "latin1").trim();
    } catch {
      // It ended by itself meanwhile.
    }
    this.signal([victim], "SIGKILL");
    return name;
  }

  private signal(pids: number[], signal: NodeJS.Signals): void {
    for (const pid of pids) {
      try {
        process.kill(pid, signal);
      } catch {
        // It ended by itself meanwhile.
      }
    }
  }
}
