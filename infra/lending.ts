import * as commands from "./commands";
import type { HostSettings, Waiver } from "./config";
import type { Connection } from "./connection";
import { digest, type RenderedFile } from "./files";
import { finishRemote, startRemote, type RemoteCommand, type RemoteResult } from "./ssh";
import { visible } from "./text";

/**
 * How a login other than root gets root's rights with a password: the process that has the password starts a lender on the host
 * over its own connection and passes it the password there. The commands of the run borrow from the lender. So neither the
 * commands nor the state contain the password.
 */

// Time limit for an answer after the login, in seconds; sudo delays a wrong password by a few.
const timeout = 30;

// Characters: more than sudo and a lender print.
const mostSaid = 100_000;

// Seconds between two keepalive bytes to a lender, which ignores them: a firewall must not drop the connection.
const sign = 15;

/** Root's rights that are lent on one host, until `end` or until this process ends. */
export interface Loan {
  /** Whether sudo asked for the password. */
  asked: boolean;
  /** Runs a command on the same connection, as runRemote does. */
  run: (command: string, stdin: string, seconds?: number) => Promise<RemoteResult>;
  end: () => void;
  /** Lets this process exit although the rights are still lent: they end with it. */
  unref: () => void;
}

/** Lending failed: `code` is the exit code of become.sh, the message is its output. */
export class NotLent extends Error {
  constructor(
    message: string,
    readonly code: number | undefined,
  ) {
    super(message);
  }
}

/** A host, and the commands that may run with root's rights there, as digests; see announcement. */
export interface Wanted {
  name: string;
  connection: Connection;
  digests: string[];
}

/** Connects to a host and starts a lender, which waits for the password from `lendOn`. */
export async function prepareLoan({ name, connection }: Wanted): Promise<RemoteCommand> {
  return startRemote(connection, commands.lend({ name, user: connection.user }, "", []).command, undefined, true);
}

/** Passes the password to the lender of prepareLoan. If sudo refuses it, throws NotLent and closes the connection. */
export async function lendOn(
  remote: RemoteCommand,
  { name, connection, digests }: Wanted,
  password: string,
): Promise<Loan> {
  const { channel, code, drop } = remote;
  const { stdin } = commands.lend({ name, user: connection.user }, password, digests);
  // Do not close the input: the lender exits with it.
  channel.write(stdin);
  let timer: NodeJS.Timeout | undefined;
  try {
    const asked = await new Promise<boolean>((resolve, reject) => {
      let said = "";
      const onText = (text: string): void => {
        said += text;
        if (said.length > mostSaid) reject(new NotLent("it printed too much", undefined));
        if (/^ready$/m.test(said)) resolve(/^password asked: true$/m.test(said));
      };
      channel.setEncoding("utf8").on("data", onText);
      channel.stderr.setEncoding("utf8").on("data", onText);
      channel.on("close", () => {
        reject(new NotLent(visible(said.trim()) || "it closed the connection", code()));
      });
      timer = setTimeout(() => {
        reject(new NotLent(`no answer within ${String(timeout)} s`, undefined));
      }, timeout * 1000);
    });
    return loanOf(remote, asked);
  } catch (error) {
    drop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function loanOf({ channel, close, another, unref }: RemoteCommand, asked: boolean): Loan {
  const alive = setInterval(() => channel.write("\n"), sign * 1000).unref();
  return {
    asked,
    unref,
    run: async (command, stdin, seconds) => finishRemote(await another(command), stdin, seconds),
    end: () => {
      clearInterval(alive);
      channel.on("close", close);
      channel.end();
      // Do not wait longer than a second for the host to close its side.
      setTimeout(close, 1000).unref();
    },
  };
}

/** Whether a host's commands need to borrow root's rights if sudo asks for a password. */
export const borrows = ({ user }: Pick<HostSettings, "user">): boolean => user !== "root";

/**
 * The digests of all commands that a run may execute on a host with these settings. Commands in the state from another version
 * or other settings are not included.
 */
export function announcements(stack: string, host: HostSettings, files: RenderedFile[], waived: Waiver[]): string[] {
  const identity = { stack, host };
  const mark = commands.markOf(identity, files);
  const steps = [
    commands.preflight(identity, files, mark),
    commands.installPackages(identity),
    commands.activate(identity, files, mark),
  ];
  const looks = [
    commands.leaveWaivers(identity, digest(files), waived),
    commands.look(identity, waived),
    commands.look(identity),
  ];
  return [...steps, ...looks].flatMap(({ create, delete: remove, stdin }) =>
    [create, ...(remove === undefined ? [] : [remove])].flatMap(
      (command) => commands.announcement(command, stdin) ?? [],
    ),
  );
}

/**
 * Runs a single command as root on a host, with the password in the settings, if there is one, on the same connection.
 * Throws like runRemote, and NotLent.
 */
export async function runAsRoot(
  host: HostSettings,
  connection: Connection,
  { create, stdin }: commands.HostCommand,
  seconds?: number,
): Promise<RemoteResult> {
  if (!borrows(host) || host.becomePassword === undefined)
    return finishRemote(await startRemote(connection, create), stdin, seconds);
  const digest = commands.announcement(create, stdin);
  const wanted = { name: host.name, connection, digests: digest === undefined ? [] : [digest] };
  const loan = await lendOn(await prepareLoan(wanted), wanted, host.becomePassword);
  try {
    return await loan.run(create, stdin, seconds);
  } finally {
    loan.end();
  }
}
