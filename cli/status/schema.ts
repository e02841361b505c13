import { z } from "zod";

/**
 * How one host is, as `npm run status -- --json` prints it: docs/status.schema.json is made from this. Numbers that are
 * not known are left out; times are in seconds, memory and disk in bytes.
 */
const count = z.number().nonnegative().optional();
const limited = z.strictObject({ used: count, limit: count });

/** What a check of the monitor said. */
export const verdicts = ["ok", "held", "skipped", "problem", "unknown"] as const;

export const hostStatus = z.strictObject({
  host: z.string().describe("Name in the stack."),
  address: z.string(),
  healthy: z.boolean().describe("No check found a problem, the mirror is not held, and nothing was changed by hand."),
  problems: z.array(z.string()).describe("What is not as it should be, a line each."),
  lsyncd: z
    .strictObject({
      state: z.string().describe("As systemd names it."),
      seconds: count.describe("For how long."),
      restarts: count.describe("By systemd, since it was last started by hand."),
      held: z.string().optional().describe("Why the mirror is held: in use, or after a mass deletion."),
    })
    .optional(),
  checks: z
    .record(z.string(), z.strictObject({ verdict: z.enum(verdicts), text: z.string() }))
    .optional()
    .describe("What each check of the monitor says now, by its name."),
  backlog: count.describe("Changes that lsyncd has not mirrored yet."),
  behind: count.describe("Seconds for which the oldest of them waits."),
  databases: z
    .strictObject({
      waiting: count.describe("Databases that wait to be copied."),
      behind: count.describe("Seconds for which the oldest of them waits."),
    })
    .optional(),
  lastError: z.string().optional().describe("The last error in lsyncd's log, however old."),
  disk: z.strictObject({ percent: count, inodesPercent: count, free: count }).optional().describe("Of the target."),
  watches: limited.optional(),
  memory: limited.optional(),
  monitor: z
    .strictObject({
      verdict: z.string().describe("Of its last run: ok, PROBLEM, UNKNOWN, held, failed or never ran."),
      seconds: count.describe("Since then."),
      says: z.array(z.string()).describe("What its last run found that cannot be looked at again."),
      paused: z.string().optional().describe("Until when no alerts are sent."),
    })
    .optional(),
  drift: z.array(z.string()).optional().describe("What was changed by hand on the host."),
});

/** How one host is. */
export type HostStatus = z.output<typeof hostStatus>;

/** The JSON schema of what `npm run status -- --json` prints. */
export function statusSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(z.array(hostStatus)), title: "npm run status -- --json" };
}
