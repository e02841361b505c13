import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";

/** A control group: the cost of all processes started in it, however short-lived. */
export class Group {
  private constructor(
    private readonly folder: string,
    /** The folder of its memory: with version 1 of control groups another one. */
    private readonly accounts: string,
  ) {}

  /** Makes one; needs root. */
  static make(name: string): Group {
    const first = existsSync("/sys/fs/cgroup/cpuacct");
    const folder = `/sys/fs/cgroup/${first ? "cpuacct/" : ""}${name}`;
    const accounts = `/sys/fs/cgroup/${first ? "memory/" : ""}${name}`;
    for (const each of [folder, accounts]) mkdirSync(each, { recursive: true });
    return new Group(folder, accounts);
  }

  /** The words before a command that start it in the group. */
  get through(): string[] {
    const enter = [this.folder, this.accounts].map((folder) => `echo $$ >'${folder}/cgroup.procs'`);
    return ["sh", "-c", `${enter.join(" && ")} && exec "$@"`, "sh"];
  }

  /** Seconds of CPU so far. */
  cpu(): number {
    if (this.accounts !== this.folder) return Number(readFileSync(`${this.folder}/cpuacct.usage`, "latin1")) / 1e9;
    return Number(/^usage_usec (\d+)/m.exec(readFileSync(`${this.folder}/cpu.stat`, "latin1"))?.[1]) / 1e6;
  }

  /** The processes in it. */
  pids(): number[] {
    return readFileSync(`${this.folder}/cgroup.procs`, "latin1").split("\n").filter(Boolean).map(Number);
  }

  /** Megabytes of resident memory of the processes in it now, by the name of the program. */
  memory(): Map<string, number> {
    const found = new Map<string, number>();
    for (const pid of this.pids()) {
      try {
        const name = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").slice(0, 2).join(" ");
        const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
        // With the process that is ready for the next call.
        const program = /sqlite-copier|rsync-wrapper/.test(name)
          ? "copier"
          : /lsyncd -|lsyncd$/.test(name)
            ? "lsyncd"
            : "others";
        found.set(program, (found.get(program) ?? 0) + kilobytes / 1024);
      } catch {
        // It has ended meanwhile.
      }
    }
    return found;
  }

  /** Megabytes of memory that the kernel uses for its processes now; undefined where it does not count them. */
  kernel(): number | undefined {
    const first = `${this.accounts}/memory.kmem.usage_in_bytes`;
    if (existsSync(first)) return Number(readFileSync(first, "latin1")) / 1e6;
    const second = `${this.accounts}/memory.stat`;
    if (!existsSync(second)) return undefined;
    const bytes = /^kernel (\d+)/m.exec(readFileSync(second, "latin1"))?.[1];
    return bytes === undefined ? undefined : Number(bytes) / 1e6;
  }

  /** Removes it, once nothing is in it. */
  remove(): void {
    for (const folder of new Set([this.folder, this.accounts]))
      try {
        rmdirSync(folder);
      } catch {
        // A process is still ending; an empty group costs nothing.
      }
  }
}
