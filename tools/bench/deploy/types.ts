import type { Conditions } from "../results";
import type { SshUse } from "./sshd";

/**
 * The measured works, in this order: a first deployment to clean hosts, a run that finds nothing changed, and one with one setting
 * changed (lsyncd's delay, which restarts lsyncd).
 */
export const works = ["first", "nothing", "change"] as const;

/** One of the kinds of work. */
export type Work = (typeof works)[number];

/** One run of one tool. */
export interface Sample extends SshUse {
  /** Samples of the same round were taken one after the other, on the same hosts. */
  round: string;
  tool: string;
  hosts: number;
  /** Milliseconds of a round trip to a host. */
  rtt: number;
  work: Work;
  seconds: number;
  /** CPU seconds of the tool and all it started here; what runs on the hosts is not in it. */
  cpu: number;
  /** Most bytes of memory of the tool and all it started here, at one time. */
  memory: number;
}

/** Everything that was measured under the same conditions. */
export interface Session {
  conditions: Conditions;
  /** The version of each tool. */
  versions: Record<string, string>;
  samples: Sample[];
}

/** docs/performance/deploy.json. */
export interface DeployResults {
  sessions: Session[];
}
