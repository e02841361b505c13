import type { Conditions } from "../results";

/** How databases are spread: all in one directory, or over so many. */
export type Directories = 1 | 256;

/** Megabytes of resident memory, the most of a period. */
export interface Memory {
  lsyncd: number;
  copier: number;
}

/** The cost of a period of commits. Seconds, milliseconds of a commit, megabytes. */
export interface Rate {
  perSecond: number;
  seconds: number;
  commits: number;
  /** Milliseconds of a commit; `alone` without any mirror, in the same run. */
  p99: number;
  alone: number;
  lag: { count: number; median: number; p99: number; worst: number };
  /** The largest number in lsyncd's status file. */
  delays: number;
  /** Share of one core, of everything that mirrors. */
  cpu: number;
  rsyncs: number;
  memory: Memory;
}

/**
 * One number of databases. Seconds; `rsync` is `rsync -a` and a sync, `dryRun` is `rsync -a --dry-run`, and `dryDelete` the same with
 * `--delete`, which finds what is to be deleted.
 */
export interface Many {
  conditions?: Conditions;
  number: number;
  directories: Directories;
  megabytes: number;
  /** `memory`: the most during it. */
  first?: { seconds: number; cpu: number; rsync: number; memory?: Memory };
  restart?: { seconds: number; dryRun: number; dryDelete?: number };
  rates: Rate[];
  /** Megabytes that the kernel uses for lsyncd and the copier after all that, without what it would free on demand. */
  kernel?: number | undefined;
}

export interface ManyResults {
  runs: Many[];
}
