import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import path from "node:path";
import { defaults } from "../../infra/config";

/** What a mirror that is frozen tells of itself. Times in seconds since 1970. */
export interface Told {
  frozen: number;
  /** Since when the copier says it is behind with a database, why, and how long its last copy took, by path. */
  status: Map<string, { since: number; why: string; took?: number }>;
  /** When the copies of big databases began that are under way. */
  copies: number[];
}

/** How far a database may be behind on a machine that has time for it, in seconds: half of it is lsyncd's own delay. */
export const normalDelay = 2;
const lsyncdDelay = 1;
const share = defaults.sqliteCopyShare / 100;

/** Why a database waits for its application or for room. The other causes are the copier's own work. */
const held = ["locked", "hot", "slow", "space", "error"];

/** Reads what the copier tells in its state directory. */
export function readTold(state: string, frozen: number, copies: number[]): Told {
  const file = path.join(state, "status.tsv");
  const told: Told = { frozen, status: new Map(), copies };
  for (const line of (existsSync(file) ? readFileSync(file, "utf8") : "").split("\n").slice(1)) {
    const [since = "", why = "", name = "", reason = ""] = line.split("\t");
    const took = /its last copy took ([\d.]+) s/.exec(reason)?.[1];
    if (name !== "")
      told.status.set(name, { since: Number(since), why, ...(took === undefined ? {} : { took: Number(took) }) });
  }
  return told;
}

/**
 * How far a database may be behind, in seconds: two, and for a big one its copy's time divided by the share of the time that
 * copying may take. Where copying all small ones once, in the simplest way, takes more than that share of a second, at that
 * moment, it is lsyncd's delay and that time divided by the share. What waits for its application adds what the copier tells of it.
 */
export function allowed(told: Told, file: string, big: boolean, copyingAll: number): number {
  const { frozen, status, copies } = told;
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

/** What the writers were told is committed, by database: the times of transactions 1, 2, …, read as they are written. */
export class Commits {
  private readonly offsets = new Map<string, number>();
  private readonly times = new Map<string, Map<number, number>>();

  constructor(private readonly files: string[]) {}

  /** Reads what has come since the last call: lines of a path, a number and a time. */
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
