import type { Connection } from "./connection";
import { runRemote, Unreachable } from "./ssh";

/** What the state of a host is looked at with. */
export interface LookInputs {
  connection: Connection;
  command: string;
  stdin: string;
}

/** A host as it was at the last look. */
export interface HostState extends LookInputs {
  /** What differs from what was deployed, a line each; empty when nothing does. */
  drift: string[];
  /** Goes up with each repair, so that the commands which repair have a reason to run. */
  revision: number;
}

// Seconds that a look may take. A host that hangs must not hold up the others for longer.
const limit = 60;

/** Reads the lines of observe.sh. */
export const parseDrift = (stdout: string): string[] =>
  stdout
    .split("\n")
    .filter((line) => line.includes("\t"))
    .map((line) => line.replace("\t", " "));

/**
 * Looks at a host. One that cannot be reached, or that cannot be asked, keeps the state it had: a preview without
 * access to the hosts still works, and the preflight says what is wrong with it. Returns why in `note`.
 */
export async function look(state: HostState): Promise<{ state: HostState; note?: string }> {
  const { connection, command, stdin } = state;
  try {
    const { code, stdout, stderr } = await runRemote(connection, command, stdin, limit);
    if (code === 0) return { state: { ...state, drift: parseDrift(stdout) } };
    return { state, note: `${stdout}${stderr}`.trim() };
  } catch (error) {
    const { message } = error as Error;
    return { state, note: error instanceof Unreachable ? `could not be reached: ${message}` : message };
  }
}

/** Whether a state has to be updated: something drifted, or it is looked at in another way from now on. */
export function differs(old: HostState, next: LookInputs): boolean {
  const how = ({ connection, command, stdin }: LookInputs): string =>
    JSON.stringify([command, stdin, Object.entries(connection).sort()]);
  return old.drift.length > 0 || how(old) !== how(next);
}

/** The state after a deployment: drift is repaired by the commands that its revision makes run. */
export function repaired(old: HostState, next: LookInputs): HostState {
  return { ...next, drift: [], revision: old.revision + (old.drift.length > 0 ? 1 : 0) };
}
