import type { Latencies } from "../../torture/workload";
import type { Conditions } from "../results";

/** The program that mirrors while writers write: none, this program, or rsync alone as with `sqliteSafe: false`. */
export const mirrors = ["none", "safe", "plain"] as const;
export type MirroredBy = (typeof mirrors)[number];

/** The copy of one database into an empty mirror, in seconds for each run. */
export interface Copies {
  megabytes: number;
  journal: "wal" | "delete";
  safe: number[];
  rsync: number[];
  /** rsync that waits for the disk, as a copy under locks does. */
  rsyncSynced: number[];
}

/** One writer for some seconds. */
export interface Written extends Latencies {
  workload: string;
  by: MirroredBy;
  seconds: number;
  /** Bytes of the pages that transactions wrote. */
  committed: number;
  /** Bytes that the target's disk has written, its file system's own included. */
  target: number;
}

/** The state of a mirror that was stopped at random moments. */
export interface Moments {
  /** The configuration of lsyncd: its name on the page. */
  how: string;
  samples: number;
  opened: number;
  /** Copies that are missing, damaged, or no state that was committed. */
  faults: number;
  /** Of those that opened: how far behind, in seconds. */
  behind: { median: number; p99: number; most: number };
  /** Further behind than promised. */
  late: number;
}

/** docs/performance/sqlite.json: each part as it was last measured. */
export interface SqliteResults {
  copies?: { conditions: Conditions; runs: Copies[] };
  writers?: { conditions: Conditions; runs: Written[] };
  moments?: { conditions: Conditions; runs: Moments[] };
}
