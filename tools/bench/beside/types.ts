import type { Conditions } from "../results";

/** The ways to copy databases that are compared, in the order of the table. */
export const ways = ["lsyncd-as-code", "cron", "litestream"] as const;
export type Way = (typeof ways)[number];

/** The results of one way with some databases, during commits. */
export interface Beside {
  way: Way;
  databases: number;
  /** Wanted, and made in so many seconds. */
  perSecond: number;
  seconds: number;
  commits: number;
  /** Seconds until a copy had a commit, of about twenty commits a second; none was followed longer than ten minutes. */
  lag: { count: number; median: number; p99: number; worst: number };
  /** Share of one core. */
  cpu: number;
  /** Megabytes of resident memory of its programs, at most. */
  memory: number;
  /** Of so many databases that were committed to, the copies that SQLite opened without a fault, as it ended. */
  copies: number;
  open: number;
}

/** docs/performance/beside.json. */
export interface BesideResults {
  conditions: Conditions;
  runs: Beside[];
}
