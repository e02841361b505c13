import { passwordMissing, passwordRefused, type HostCommand } from "./commands";
import type { HostSettings } from "./config";
import type { Connection } from "./connection";
import { describeDrift, describePass, parseLook, unanswered, type Look } from "./drift";
import type { Password, Verdict } from "./passwords";
import * as pulumi from "./pulumi";
import { lendOn, NotLent, prepareLoan, type Loan } from "./lending";
import { runRemote, Unreachable, type RemoteResult } from "./ssh";

// Seconds that a look may take. A host that hangs must not hold up the others for longer.
const limit = 120;

/** A look at a host, and what to report of it. */
export interface Looked extends Look {
  /** Why it did not answer: the end of a sentence about the host, and what was said. */
  fault?: { how: "could not be reached" | "was not asked" | "did not answer"; text: string };
  /** The host whose sudo has refused the password, if one has: this one, or one that has the same. */
  refusedBy?: string;
  /** What the preflight of a preview said. */
  preflight?: { passed: boolean; text: string };
}

/** What is known of a host whose password for sudo is refused. */
export function notAsked({ name, user }: HostSettings, by: string, text?: string): Looked {
  const elsewhere = `sudo on ${by} refuses the same password for ${user}, so it was not tried here.`;
  return {
    ...unanswered,
    refusedBy: by,
    fault: { how: "was not asked", text: text ?? (by === name ? "its sudo has refused the password." : elsewhere) },
  };
}

/** What a host needs to be looked at. */
export interface LookArgs {
  host: HostSettings;
  connection: Connection;
  command: HostCommand;
  /** The password for sudo, and the digests of all that may be run with it. */
  password?: Password | undefined;
  digests: string[];
}

/**
 * Looks at a host once, over a connection of the program's own: what was changed by hand and, when the command is that
 * of a preview, what the preflight says. Never rejects: a host that does not answer holds up no other. With a password it lends
 * root's rights there first, for all commands until this program ends.
 */
export async function lookAt({ host, connection, command, password, digests }: LookArgs): Promise<Looked> {
  try {
    if (!password) return read(await runRemote(connection, command.create, command.stdin, limit));
    const wanted = { name: host.name, connection, digests };
    const remote = await prepareLoan(wanted);
    const lend = async (): Promise<Loan | NotLent> => {
      try {
        return await lendOn(remote, wanted, password.text);
      } catch (error) {
        if (error instanceof NotLent && error.code !== undefined) return error;
        throw error;
      }
    };
    const loan = await password.tryOn(host.name, lend, verdict);
    if (loan === undefined) {
      remote.drop();
      return notAsked(host, password.refusedBy ?? host.name);
    }
    if (!(loan instanceof NotLent)) {
      const result = await loan.run(command.create, command.stdin, limit);
      loan.unref();
      return read(result);
    }
    if (loan.code === passwordRefused) return notAsked(host, host.name, loan.message);
    return { ...unanswered, fault: { how: "did not answer", text: loan.message } };
  } catch (error) {
    const { message } = error as Error;
    const how = error instanceof Unreachable ? "could not be reached" : "did not answer";
    return { ...unanswered, fault: { how, text: message } };
  }
}

const verdict = (loan: Loan | NotLent): Verdict =>
  loan instanceof NotLent
    ? loan.code === passwordRefused
      ? "refused"
      : "unknown"
    : loan.asked
      ? "accepted"
      : "unknown";

function read({ code, stdout, stderr }: RemoteResult): Looked {
  const parsed = parseLook(stdout);
  const text = `${parsed?.said ?? stdout}${stderr}`.trim();
  if (parsed) return { ...parsed.look, preflight: { passed: code === 0, text } };
  return { ...unanswered, fault: { how: code === passwordMissing ? "was not asked" : "did not answer", text } };
}

/**
 * Whether this is the preview of an update that goes on with the other hosts when one fails (`npm run up`): a failed
 * preview would keep it from beginning.
 */
const goesOn = (): boolean => process.env.LSYNCD_ONE_HOST_STOPS_NO_OTHER === "true";

/**
 * Whether nothing may be run on a host in an update: its look has got no answer, and the command plugin waits without end for
 * a host that takes the connection and then says nothing. The commands themselves report a refused password.
 */
export function outOfReach({ fault, refusedBy }: Looked): boolean {
  return fault !== undefined && refusedBy === undefined;
}

/**
 * Reports a host that is out of reach in an update, in which no command is registered for it: Pulumi shows the error, goes
 * on with the other hosts and fails at the end, and an update that fails deletes nothing.
 */
export function leaveAlone({ name }: HostSettings, { fault }: Looked): void {
  const text = `${name} ${fault?.how ?? "did not answer"}, it was not looked at and nothing was changed on it: ${fault?.text ?? ""}`;
  // Not caught by anyone, see reportLook. Without a stack, which is shown of an error that comes when the program has just ended.
  void Promise.reject(Object.assign(new pulumi.RunError(text + furtherHelp(fault)), { stack: "" }));
}

const furtherHelp = (fault: Looked["fault"]): string =>
  fault?.how === "could not be reached" ? "\nMore: docs/troubleshooting.md#a-host-cannot-be-reached" : "";

/**
 * Reports what a look has found. In a preview, findings of the preflight fail it, those of all hosts together, and so does
 * a refused password: an update would try it once more. A host that did not answer is a warning, because a pull request's
 * checks may have no way to it.
 */
export async function reportLook(host: HostSettings, looked: Looked, resource: pulumi.Resource): Promise<void> {
  const { name, address } = host;
  const { drift, fault, preflight, refusedBy } = looked;
  const stops = pulumi.isDryRun() && !goesOn();
  if (fault) {
    const missed = pulumi.isDryRun() ? "its preflight was not run" : "it was not looked at";
    const text = `${name} ${fault.how}, ${missed}: ${fault.text}${furtherHelp(fault)}`;
    // Not caught by anyone: Pulumi shows it, goes on with the other hosts, and fails the preview at its end.
    if (stops && refusedBy === name) throw new pulumi.RunError(text);
    await pulumi.log.warn(text, resource);
  }
  if (drift.length > 0) await pulumi.log.warn(describeDrift(name, address, drift), resource);
  if (!pulumi.isDryRun() || preflight === undefined) return;
  // The engine shows it to nobody; `npm run preview` finds it in the log of events.
  const pass = describePass(name, looked.passes);
  if (pass !== undefined) await pulumi.log.debug(pass, resource);
  if (!preflight.passed && stops) throw new pulumi.RunError(preflight.text);
  // One that passes and has nothing more to say is what everyone expects.
  else if (preflight.text.includes("\n")) await pulumi.log.warn(preflight.text, resource);
}

/**
 * Records on the host which refusals this run overrides. A file there and not an input of a resource: a later run
 * without the variable must show no change. The preflight takes the file away.
 */
export async function leaveWaivers(name: string, connection: Connection, waivers: HostCommand): Promise<void> {
  try {
    const { code, stdout, stderr } = await runRemote(connection, waivers.create, waivers.stdin, limit);
    const said = `${stdout}${stderr}`.trim();
    if (code !== 0 || said !== "") await pulumi.log.warn(`${name}: ${said}`);
  } catch (error) {
    // The preflight itself will say what is wrong with the host; the others go on.
    await pulumi.log.warn(`${name}: ${(error as Error).message}`);
  }
}
