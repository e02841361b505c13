import type { Conditions } from "../results";

/** Seconds that something took, and CPU seconds of it and all it started; a pair for each run. */
export interface Runs {
  seconds: number[];
  cpu: number[];
}

/** The cost of a volume with so many files. */
export interface BySize {
  files: number;
  /** Seconds of the first pass over the volume, which fills an empty mirror. */
  firstPass: number;
  monitor: Runs;
  /** With nothing in the target yet. */
  preflightEmpty: Runs;
  /** With the mirror in the target. */
  preflightMirror: Runs;
}

/** The cost of watching so many directories, with nothing to copy. */
export interface ByDirectories {
  directories: number;
  /** Seconds from the start of the service until lsyncd has made its first pass. */
  start: number[];
  /** Bytes of lsyncd's own memory then. */
  memory: number;
}

/** docs/performance/host.json: each part as it was last measured. */
export interface HostResults {
  sizes?: { conditions: Conditions; runs: BySize[] };
  latency?: {
    conditions: Conditions;
    /** Seconds from fsync to the file in the mirror, for files written one by one. */
    idle: number[];
    /** The same with so many files a second. */
    busy: number[];
    busyRate: number;
  };
  directories?: {
    conditions: Conditions;
    runs: ByDirectories[];
    /** Bytes that the kernel needs for one watched directory, by what for. */
    kernel: Record<string, number>;
  };
  burst?: {
    conditions: Conditions;
    /** Files that change as quickly as they can be written. */
    files: number;
    /** Bytes of lsyncd's memory before, and at most until all was mirrored. */
    before: number;
    most: number;
    /** Until all was mirrored. */
    seconds: number;
  };
}
