import type { Conditions } from "../results";

/** A run of lsyncd-verify: seconds, and seconds of CPU. */
export interface Cost {
  seconds: number;
  cpu: number;
}

/** One number of databases: `rsync` is `rsync -a --dry-run --checksum`, which reads all files on both sides. */
export interface Verified {
  databases: number;
  megabytes: number;
  rsync: Cost;
  plain: Cost;
  checksum: Cost;
}

export interface VerifyResults {
  conditions: Conditions;
  runs: Verified[];
}
