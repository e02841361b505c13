import { run, type Finished } from "../../toolchain/run";
import type { SandboxHost } from "./types";

/** The login of a host, container or virtual machine. */
export type Reachable = Pick<
  SandboxHost,
  "name" | "address" | "port" | "user" | "hostKey" | "privateKeyPath" | "knownHostsPath"
> & {
  /** The begin of the socket paths for connections that several commands share. An emulated machine takes a second for each login. */
  sharedConnection?: string;
};

/** Options of `execOn`. */
export interface ExecOptions {
  /** Text for the command's standard input; none means it is empty. */
  input?: string;
  /** Return a non-zero exit code instead of throwing. ssh itself failing is 255. */
  allowFailure?: boolean;
  /** Time limit for the command; 120 s by default. After that the call fails, but the command may continue on the host. */
  timeoutMs?: number;
  /** Login user; root by default. `admin` has sudo. */
  user?: "root" | "admin";
}

/** Quotes one word for a POSIX shell. */
export const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * The command line (program first) that opens a shell on a host: with the sandbox's own key and known_hosts, and nothing from
 * the user's ssh configuration or agent.
 */
export function sshArgs(host: Reachable, user: "root" | "admin" = host.user): string[] {
  const options = [
    `IdentityFile=${sshQuote(host.privateKeyPath)}`,
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    `UserKnownHostsFile=${sshQuote(host.knownHostsPath)}`,
    "GlobalKnownHostsFile=/dev/null",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=30",
    "LogLevel=ERROR",
  ];
  if (host.sharedConnection !== undefined)
    options.push("ControlMaster=auto", "ControlPersist=60", `ControlPath=${sshQuote(host.sharedConnection)}-${user}`);
  return [
    ...["ssh", "-F", "none", "-p", String(host.port)],
    ...options.flatMap((option) => ["-o", option]),
    `${user}@${host.address}`,
  ];
}

// ssh expands % in paths, and splits lists of them at blanks outside of quotes.
const sshQuote = (path: string): string => `"${path.replaceAll("%", "%%").replaceAll("\\", "\\\\")}"`;

/** Runs a shell command (a string) or a program with its arguments (a list) on a host, over ssh. */
export async function execOn(
  host: Reachable,
  command: string | string[],
  options: ExecOptions = {},
): Promise<Finished> {
  const text = typeof command === "string" ? command : command.map(quote).join(" ");
  const timeout = options.timeoutMs ?? 120_000;
  const [ssh = "ssh", ...args] = sshArgs(host, options.user);
  const started = Date.now();
  const finished = await run(ssh, ["-o", "BatchMode=yes", "-T", ...args, text], {
    timeout,
    allowFailure: true,
    ...(options.input === undefined ? {} : { input: options.input }),
  });
  if (Date.now() - started >= timeout) throw new Error(`${host.name}: not done after ${timeout / 1000} s: ${text}`);
  if (finished.code === 0 || options.allowFailure) return finished;
  const output = `${finished.stdout}\n${finished.stderr}`.trim().split("\n").slice(-40).join("\n");
  throw new Error(`${host.name}: exit code ${finished.code} from: ${text}\n${output}`);
}
