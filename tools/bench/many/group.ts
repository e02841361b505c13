import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";

/** A control group: the cost of all processes started in it, however short-lived. */
export class Group {
  private constructor(
    private readonly folder: string,
    private readonly first: boolean,
  ) {}

  /** Makes one; needs root. */
  static make(name: string): Group {
    const first = existsSync("/sys/fs/cgroup/cpuacct");
    const folder = `/sys/fs/cgroup/${first ? "cpuacct/" : ""}${name}`;
    mkdirSync(folder, { recursive: true });
    return new Group(folder, first);
  }

  /** The words before a command that start it in the group. */
  get through(): string[] {
    return ["sh", "-c", `echo $$ >'${this.folder}/cgroup.procs' && exec "$@"`, "sh"];
  }

  /** Seconds of CPU so far. */
  cpu(): number {
    if (this.first) return Number(readFileSync(`${this.folder}/cpuacct.usage`, "latin1")) / 1e9;
    return Number(/^usage_usec (\d+)/m.exec(readFileSync(`${this.folder}/cpu.stat`, "latin1"))?.[1]) / 1e6;
  }

  /** The processes in it. */
  pids(): number[] {
    return readFileSync(`${this.folder}/cgroup.procs`, "latin1").split("\n").filter(Boolean).map(Number);
  }

  /** Megabytes of private memory of the processes in it now, by the name of the program. */
  memory(): Map<string, number> {
    const found = new Map<string, number>();
    for (const pid of this.pids()) {
      try {
        const name = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").slice(0, 2).join(" ");
        const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
        const program = name.includes("sqlite-copier") ? "copier" : /lsyncd -|lsyncd$/.test(name) ? "lsyncd" : "others";
        found.set(program, (found.get(program) ?? 0) + kilobytes / 1024);
      } catch {
        // It has ended meanwhile.
      }
    }
    return found;
  }

  /** Removes it, once nothing is in it. */
  remove(): void {
    try {
      rmdirSync(this.folder);
    } catch {
      // A process is still ending; an empty group costs nothing.
    }
  }
}
