import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import path from "node:path";
import { defaults } from "../../infra/config";

/** What a mirror that is frozen tells of itself. Times in seconds since 1970. */
export interface Told {
  frozen: number;
  /** Since when the copier says it is behind with a database, and how long its last copy took, by path. */
  status: Map<string, { since: number; took?: number }>;
  /** When lsyncd's calls began that queued a database, by path; and all of them. */
  queued: Map<string, number[]>;
  calls: number[];
  /** When the calls and the copies that are under way began. */
  running: { calls: number[]; copies: number[] };
}

/** The mirror's delay without a told reason, in seconds: lsyncd's own (1 s) and a call's. */
export const normalDelay = 2;
const lsyncdDelay = 1;

/** Reads what the copier tells in its state directory. */
export function readTold(state: string, frozen: number, running: Told["running"]): Told {
  const told: Told = { frozen, status: new Map(), queued: new Map(), calls: [], running };
  const read = (name: string): string =>
    existsSync(path.join(state, name)) ? readFileSync(path.join(state, name), "utf8") : "";
  for (const line of read("status.tsv").split("\n").slice(1)) {
    const [since = "", , file = "", reason = ""] = line.split("\t");
    const took = /its last copy took ([\d.]+) s/.exec(reason)?.[1];
    if (file !== "")
      told.status.set(file, { since: Number(since), ...(took === undefined ? {} : { took: Number(took) }) });
  }
  for (const entry of read("queue").split("\0")) {
    const [, began, file] = /^([\d.]+) (.+)$/s.exec(entry) ?? [];
    if (began === undefined || file === undefined) continue;
    told.queued.set(file, [...(told.queued.get(file) ?? []), Number(began)]);
    if (told.calls.at(-1) !== Number(began)) told.calls.push(Number(began));
  }
  return told;
}

/** When the mirror's copy of a database last changed; 0 when there is none. */
export function changed(target: string, file: string): number {
  const times = ["", "-wal"].map((suffix) => path.join(target, file + suffix)).filter((name) => existsSync(name));
  return Math.max(0, ...times.map((name) => statSync(name).ctimeMs / 1000));
}

/**
 * How far a database may be behind, in seconds: the mirror's normal delay and what it tells. That is, since when it says
 * that it is behind; when a call that is under way, or that has queued it since its last copy (`changed`), began; how long
 * lsyncd's last calls took; and for a big one its copy's time divided by the share of the time that copying may take.
 */
export function allowed(told: Told, file: string, changed: number, big: boolean): number {
  const { frozen, status, queued, calls, running } = told;
  const entry = status.get(file);
  const since = Math.min(
    frozen,
    entry?.since ?? frozen,
    (queued.get(file) ?? []).find((began) => began > changed) ?? frozen,
    ...running.calls,
  );
  const recent = [...calls.slice(-4), ...running.calls, frozen].sort((a, b) => a - b);
  const between = Math.max(0, ...recent.slice(1).map((began, i) => began - (recent[i] ?? began)));
  const base = normalDelay + Math.max(0, between - lsyncdDelay);
  if (!big) return base + frozen - since;
  const copying = Math.max(entry?.took ?? 0, ...running.copies.map((began) => frozen - began));
  return copying > 0 ? base + copying / (defaults.sqliteCopyShare / 100) : base + frozen - since;
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

  /** Seconds since the first commit that a copy with transaction `n` lacked at a moment; 0 when it lacked none. */
  behind(database: string, n: number, at: number): number {
    const next = this.times.get(database)?.get(n + 1);
    return next === undefined ? 0 : Math.max(0, at - next);
  }
}
