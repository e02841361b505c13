import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import path from "node:path";
import { defaults } from "../../infra/config";

/** The reports of a frozen mirror about itself. Times in seconds since 1970. */
export interface Reports {
  frozen: number;
  /** By path: since when the copier reports a database as behind, why, and how long its last copy took. */
  status: Map<string, { since: number; why: string; took?: number }>;
  /** When the copies of big databases began that are under way. */
  copies: number[];
}

/** How far a database may be behind on a machine that has time for it, in seconds: half of it is lsyncd's own delay. */
export const normalDelay = 2;
const lsyncdDelay = 1;
const share = defaults.sqliteCopyShare / 100;

/** Causes for which a database waits for its application or for space. The other causes are the copier's own work. */
const held = ["locked", "hot", "slow", "space", "error"];

/** Reads the copier's reports in its state directory. */
export function readReports(state: string, frozen: number, copies: number[]): Reports {
  const file = path.join(state, "status.tsv");
  const reports: Reports = { frozen, status: new Map(), copies };
  for (const line of (existsSync(file) ? readFileSync(file, "utf8") : "").split("\n").slice(1)) {
    const [since = "", why = "", name = "", reason = ""] = line.split("\t");
    const took = /its last copy took ([\d.]+) s/.exec(reason)?.[1];
    if (name !== "")
      reports.status.set(name, { since: Number(since), why, ...(took === undefined ? {} : { took: Number(took) }) });
  }
  return reports;
}

/**
 * How far a database may be behind, in seconds: two, and for a big one its copy's time divided by the share of the time that
 * copying may take. Where copying all small ones once, in the simplest way, takes more than that share of a second, at that
 * moment, it is lsyncd's delay and that time divided by the share. A database that waits for its
 * application may be behind for that time as well, as reported by the copier.
 */
export function allowed(reports: Reports, file: string, big: boolean, copyingAll: number): number {
  const { frozen, status, copies } = reports;
  const entry = status.get(file);
  const waits = entry !== undefined && held.includes(entry.why) ? frozen - entry.since : 0;
  const copying = Math.max(entry?.took ?? 0, ...(big ? copies.map((began) => frozen - began) : []));
  return lsyncdDelay + Math.max(normalDelay - lsyncdDelay, copyingAll / share) + waits + copying / share;
}

/** A time for which the mirror was stopped, in seconds since 1970. */
export interface Pause {
  from: number;
  to: number;
}

/** The commits that the writers recorded, by database: the times of transactions 1, 2, …, read as they are written. */
export class Commits {
  private readonly offsets = new Map<string, number>();
  private readonly times = new Map<string, Map<number, number>>();

  constructor(private readonly files: string[]) {}

  /** Reads the lines added since the last call: each has a path, a number and a time. */
  read(): void {
    for (const file of this.files.filter((name) => existsSync(name))) {
      const handle = openSync(file, "r");
      const from = this.offsets.get(file) ?? 0;
      const buffer = Buffer.alloc(fstatSync(handle).size - from);
      readSync(handle, buffer, 0, buffer.length, from);
      closeSync(handle);
      const text = buffer.toString("utf8");
      const whole = text.slice(0, text.lastIndexOf("\n") + 1);
      this.offsets.set(file, from + Buffer.byteLength(whole));
      for (const line of whole.split("\n")) {
        const [database = "", n, time] = line.split("\t");
        if (time === undefined) continue;
        const known = this.times.get(database) ?? new Map<number, number>();
        this.times.set(database, known.set(Number(n), Number(time)));
      }
    }
  }

  /**
   * Seconds since the first commit that a copy with transaction `n` lacked at a moment, without those for which the mirror was
   * stopped to look at it; 0 when it lacked none.
   */
  behind(database: string, n: number, at: number, pauses: Pause[]): number {
    const next = this.times.get(database)?.get(n + 1);
    if (next === undefined) return 0;
    const stopped = pauses.map(({ from, to }) => Math.max(0, Math.min(to, at) - Math.max(from, next)));
    return Math.max(
      0,
      stopped.reduce((rest, one) => rest - one, at - next),
    );
  }
}
