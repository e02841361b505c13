import { passwordMissing, passwordRefused, type HostCommand } from "./commands";
import type { HostSettings } from "./config";
import type { Connection } from "./connection";
import { describeDrift, describePass, parseLook, unanswered, type Look } from "./drift";
import type { Password, Verdict } from "./passwords";
import * as pulumi from "./pulumi";
import { lendOn, NotLent, prepareLoan, type Loan } from "./lending";
import { NoLogin, runRemote, Unreachable, type RemoteResult } from "./ssh";

// Time limit for inspecting a host, in seconds. A host that hangs must not delay the others for longer.
const limit = 120;

/** The result of inspecting a host, and what to report about it. */
export interface Looked extends Look {
  /** Why it did not answer: the end of a sentence about the host, and the error. */
  fault?: { how: "could not be reached" | "was not contacted" | "was skipped" | "did not answer"; text: string };
  /** The host whose sudo refused the password: this one, or another with the same password. */
  refusedBy?: string;
  /** The result of a preview's preflight. */
  preflight?: { passed: boolean; text: string };
}

/** The result for a host whose sudo password is refused. */
export function notAsked({ name, user }: HostSettings, by: string, text?: string): Looked {
  const elsewhere = `sudo on ${by} refuses the same password for ${user}, so it was not tried here.`;
  return {
    ...unanswered,
    refusedBy: by,
    fault: { how: "was skipped", text: text ?? (by === name ? "its sudo has refused the password." : elsewhere) },
  };
}

/** Arguments for inspecting a host. */
export interface LookArgs {
  host: HostSettings;
  connection: Connection;
  command: HostCommand;
  /** The sudo password, and the digests of all commands that may run with it. */
  password?: Password | undefined;
  digests: string[];
}

/**
 * Inspects a host once, over the program's own connection: finds changes by hand and, in a preview, runs the preflight.
 * Never rejects: a host that does not answer does not stop the others. With a password, first lends root's rights there,
 * for all commands until this program exits.
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
    const how =
      error instanceof NoLogin
        ? "was not contacted"
        : error instanceof Unreachable
          ? "could not be reached"
          : "did not answer";
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
  return { ...unanswered, fault: { how: code === passwordMissing ? "was skipped" : "did not answer", text } };
}

/**
 * Whether this is the preview of an update that continues with the other hosts when one fails (`npm run up`): a failed
 * preview would prevent the update.
 */
const goesOn = (): boolean => process.env.LSYNCD_ONE_HOST_STOPS_NO_OTHER === "true";

/**
 * Whether an update must run nothing on a host: the host did not answer, and the command plugin would wait forever for a host
 * that accepts the connection and then sends nothing. A refused password is reported by the commands themselves.
 */
export function outOfReach({ fault, refusedBy }: Looked): boolean {
  return fault !== undefined && refusedBy === undefined;
}

/**
 * Reports a host that is out of reach in an update, which registers no command for it. Pulumi prints the error, continues with
 * the other hosts and fails at the end; an update that fails deletes nothing.
 */
export function leaveAlone({ name }: HostSettings, { fault }: Looked): void {
  const text = `${name} ${fault?.how ?? "did not answer"}, it was not checked and nothing was changed on it: ${fault?.text ?? ""}`;
  // Not caught by anyone, see reportLook. Without a stack, which is shown of an error that comes when the program has just ended.
  void Promise.reject(Object.assign(new pulumi.RunError(text + furtherHelp(fault)), { stack: "" }));
}

const pages: Partial<Record<string, string>> = {
  "could not be reached": "docs/troubleshooting.md#a-host-cannot-be-reached",
  "was not contacted": "docs/configuration.md#logging-in",
};

function furtherHelp(fault: Looked["fault"]): string {
  const page = pages[fault?.how ?? ""];
  return page === undefined ? "" : `\nMore: ${page}`;
}

/**
 * Reports the result of an inspection. A preview fails if a preflight refuses, after reporting those of all hosts; it also fails
 * if a password is refused, because an update would try it again. A host that did not answer is only a warning, because the
 * checks of a pull request may be unable to reach it.
 */
export async function reportLook(host: HostSettings, looked: Looked, resource: pulumi.Resource): Promise<void> {
  const { name, address } = host;
  const { drift, fault, preflight, refusedBy } = looked;
  const stops = pulumi.isDryRun() && !goesOn();
  if (fault) {
    const missed = pulumi.isDryRun() ? "its preflight was not run" : "it was not checked";
    const text = `${name} ${fault.how}, ${missed}: ${fault.text}${furtherHelp(fault)}`;
    // Uncaught on purpose: Pulumi prints it, continues with the other hosts, and fails the preview at the end.
    if (stops && refusedBy === name) throw new pulumi.RunError(text);
    await pulumi.log.warn(text, resource);
  }
  if (drift.length > 0) await pulumi.log.warn(describeDrift(name, address, drift), resource);
  if (!pulumi.isDryRun() || preflight === undefined) return;
  // The engine does not print it; `npm run preview` reads it from the event log.
  const pass = describePass(name, looked.passes);
  if (pass !== undefined) await pulumi.log.debug(pass, resource);
  if (!preflight.passed && stops) throw new pulumi.RunError(preflight.text);
  // A preflight that passes without remarks needs no message.
  else if (preflight.text.includes("\n")) await pulumi.log.warn(preflight.text, resource);
}

/**
 * Records on the host which refusals this run overrides, in a file and not in a resource's input: a later run without the
 * variable must show no change. The preflight removes the file.
 */
export async function leaveWaivers(name: string, connection: Connection, waivers: HostCommand): Promise<void> {
  try {
    const { code, stdout, stderr } = await runRemote(connection, waivers.create, waivers.stdin, limit);
    const said = `${stdout}${stderr}`.trim();
    if (code !== 0 || said !== "") await pulumi.log.warn(`${name}: ${said}`);
  } catch (error) {
    // The preflight will report the host's problem; the other hosts continue.
    await pulumi.log.warn(`${name}: ${(error as Error).message}`);
  }
}
