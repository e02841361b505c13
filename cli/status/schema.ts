import { z } from "zod";

/**
 * The status of one host, as `npm run status -- --json` prints it. docs/status.schema.json is generated from this. Unknown
 * numbers are left out; times are in seconds, memory and disk in bytes.
 */
const count = z.number().nonnegative().optional();
const limited = z.strictObject({ used: count, limit: count });

/** The result of one of the monitor's checks. */
export const verdicts = ["ok", "held", "skipped", "problem", "unknown"] as const;

export const hostStatus = z.strictObject({
  host: z.string().describe("Name in the stack."),
  address: z.string(),
  healthy: z.boolean().describe("No check found a problem, the mirror is not held, and nothing was changed by hand."),
  problems: z.array(z.string()).describe("The problems, one line each."),
  lsyncd: z
    .strictObject({
      state: z.string().describe("The state in systemd's terms."),
      seconds: count.describe("Time in this state."),
      restarts: count.describe("Restarts by systemd since the last start by hand."),
      held: z.string().optional().describe("Why the mirror is held: in use, or after a mass deletion."),
    })
    .optional(),
  checks: z
    .record(z.string(), z.strictObject({ verdict: z.enum(verdicts), text: z.string() }))
    .optional()
    .describe("The current result of each of the monitor's checks, by name."),
  backlog: count.describe("Changes that lsyncd has not mirrored yet."),
  behind: count.describe("Seconds that the oldest of them has waited."),
  databases: z
    .strictObject({
      waiting: count.describe("Databases waiting to be copied."),
      behind: count.describe("Seconds that the oldest of them has waited."),
    })
    .optional(),
  lastError: z.string().optional().describe("The last error in lsyncd's log, of any age."),
  disk: z.strictObject({ percent: count, inodesPercent: count, free: count }).optional().describe("The target's disk."),
  watches: limited.optional(),
  memory: limited.optional(),
  monitor: z
    .strictObject({
      verdict: z.string().describe("Result of its last run: ok, PROBLEM, UNKNOWN, held, failed or never ran."),
      seconds: count.describe("Time since that run."),
      says: z.array(z.string()).describe("Findings of its last run that cannot be checked again now."),
      paused: z.string().optional().describe("Alerts are paused until this time."),
    })
    .optional(),
  drift: z.array(z.string()).optional().describe("Changes made by hand on the host."),
});

/** The status of one host. */
export type HostStatus = z.output<typeof hostStatus>;

/** The JSON schema of the output of `npm run status -- --json`. */
export function statusSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(z.array(hostStatus)), title: "npm run status -- --json" };
}
