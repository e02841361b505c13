import { createHash } from "node:crypto";
import { runDirectory } from "../paths";
import { sh } from "../quote";
import { bundle, partsOf, scriptOf, unpacked, unpacking, type Parts } from "./bundle";
import { fragment, run, script, withoutReason } from "./script";

/** The login user of a host, and how that user becomes root. */
export interface Login {
  name: string;
  user: string;
  /** The host that has refused this password in this run: it is not tried again on any host. */
  refusedBy?: string;
}

/** The exit code of become.sh if sudo refuses the password. */
export const passwordRefused = 124;

/** The exit code of become.sh if sudo asks for a password and there is none. */
export const passwordMissing = 125;

/** A script with the command that runs it. */
export interface Rooted {
  command: (...args: string[]) => string;
  stdin: string;
}

const prefix = "bash -s -- ";
const call = '\n[ -z "$BASH" ] || become "$@"\n';

/** The path of the sockets that lend root's rights to a user, without the id of the lending process. */
const lendPath = (user: string): string => `${runDirectory}/root-for-${user}`;

/** The text before a script for a login other than root. No password is in it: see lend. */
function head(login: Login, more: Record<string, string> = {}): string {
  const { name: HOST, user: LOGIN, refusedBy: REFUSED_BY } = login;
  const refused = REFUSED_BY === undefined ? {} : { REFUSED_BY };
  const values = { HOST, LOGIN, LEND: lendPath(LOGIN), ...refused, ...more };
  return [script(values, []), fragment("become.sh")].join("\n");
}

/** The script that a command's standard input stands for. */
const scriptIn = (stdin: string): string => {
  const parts = partsOf(stdin);
  return parts ? scriptOf(parts) : stdin;
};

/** The command that runs a script as root: the script itself for root, with sudo for other users. */
export function asRoot(login: Login, name: string, text: string): Rooted {
  if (login.user === "root") return { command: (...args) => run(name, ...args), stdin: text };
  return {
    command: (...args) => prefix + [name, ...args].map(sh).join(" "),
    stdin: head(login) + text,
  };
}

/** The same for a script in parts, sent as one JSON object. */
export function bundleAsRoot(login: Login, name: string, parts: Parts): Rooted {
  if (login.user === "root") return { command: (...args) => unpacking(run(name, ...args)), stdin: bundle(parts) };
  return {
    command: (...args) => unpacking(prefix + [name, ...args].map(sh).join(" ")),
    stdin: bundle({ login: head(login), ...parts }),
  };
}

/**
 * The digest by which a lender of root's rights knows a command; undefined for a command that does not ask for them.
 * Commands of an earlier deployment, as the state has them, have one as well.
 */
export function announcement(command: string, stdin: string): string | undefined {
  const text = scriptIn(stdin);
  const own = unpacked(command) ?? command;
  const end = text.indexOf(call);
  if (!own.startsWith(prefix) || end < 0) return undefined;
  const request = `${withoutReason(own.slice(prefix.length))}\n${text.slice(end + call.length)}`;
  return createHash("sha256").update(request).digest("hex");
}

/**
 * Lends root's rights to a user until its standard input ends, only for the commands with these digests. Its
 * first line of output is `ready`, or the error. The password is in the standard input and nowhere else.
 */
export function lend(login: Login, password: string, digests: string[]): { command: string; stdin: string } {
  const words = ["lend", lendPath(login.user), login.user];
  const TAKE = 'IFS= read -r -d "" text; exec perl -e "$text" -- "$@"';
  // The shell reads its script a line at a time, so the line before the password takes it as it is.
  const taking = `IFS= read -r PASSWORD\n${password}\n`;
  return {
    command: prefix + words.map(sh).join(" "),
    stdin: `${taking}${head(login, { TAKE })}${fragment("lend.pl")}\0${digests.join(" ")}\n`,
  };
}
