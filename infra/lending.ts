import * as commands from "./commands";
import type { HostSettings, Waiver } from "./config";
import type { Connection } from "./connection";
import { digest, type RenderedFile } from "./files";
import { finishRemote, startRemote, type RemoteCommand, type RemoteResult } from "./ssh";
import { visible } from "./text";

/**
 * How every login but root's gets root's rights with a password: the process that has the password starts a lender on the host over a
 * connection of its own, and gives it the password there. The commands of the run borrow from it. So no command has a password, and
 * neither has the state.
 */

// Seconds that a host may take to answer after the login; sudo delays a wrong password by a few.
const timeout = 30;

// Characters: more than sudo and a lender have to say.
const mostSaid = 100_000;

// Seconds between two bytes to a lender, which reads over them: a firewall must not take its connection for dead.
const sign = 15;

/** Root's rights that are lent on one host, until `end` or until this process ends. */
export interface Loan {
  /** Whether sudo asked for the password. */
  asked: boolean;
  /** Runs a command on the same connection, as runRemote does. */
  run: (command: string, stdin: string, seconds?: number) => Promise<RemoteResult>;
  end: () => void;
  /** Lets this process end although the rights are still lent: they end with it. */
  unref: () => void;
}

/** Why nothing is lent: `code` is what become.sh ended with, the message is what it said. */
export class NotLent extends Error {
  constructor(
    message: string,
    readonly code: number | undefined,
  ) {
    super(message);
  }
}

/** Whose rights are lent for what: the digests of the commands, see announcement. */
export interface Wanted {
  name: string;
  connection: Connection;
  digests: string[];
}

/** Connects to a host, for `lendOn` to go on with: it waits there for the password. */
export async function prepareLoan({ name, connection }: Wanted): Promise<RemoteCommand> {
  return startRemote(connection, commands.lend({ name, user: connection.user }, "", []).command, undefined, true);
}

/** Gives the password to what prepareLoan has started. Throws NotLent, and closes the connection, when sudo refuses it. */
export async function lendOn(
  remote: RemoteCommand,
  { name, connection, digests }: Wanted,
  password: string,
): Promise<Loan> {
  const { channel, code, drop } = remote;
  const { stdin } = commands.lend({ name, user: connection.user }, password, digests);
  // Not ended: what holds the rights ends with its input.
  channel.write(stdin);
  let timer: NodeJS.Timeout | undefined;
  try {
    const asked = await new Promise<boolean>((resolve, reject) => {
      let said = "";
      const onText = (text: string): void => {
        said += text;
        if (said.length > mostSaid) reject(new NotLent("it printed without end", undefined));
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
      // A host that does not close its side in a second is left.
      setTimeout(close, 1000).unref();
    },
  };
}

/** Whether a host's commands have to borrow, when sudo asks for a password. */
export const borrows = ({ user }: Pick<HostSettings, "user">): boolean => user !== "root";

/**
 * The digests of all that a run may do on a host with these settings. Commands that the state has from another version or other
 * settings are not among them.
 */
export function announcements(stack: string, host: HostSettings, files: RenderedFile[], waived: Waiver[]): string[] {
  const identity = { stack, host };
  const steps = [
    commands.preflight(identity, files),
    commands.installPackages(identity),
    commands.activate(identity, files),
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
 * Runs one command as root on a host, for a program that does nothing else there: with the password of the settings, if there is
 * one, on the same connection. Throws as runRemote does, and NotLent.
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
