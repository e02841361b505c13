import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

// Empty counts as unset, as for ssh-keygen's files in known-hosts.ts.
const home = (): string => (process.env.HOME === "" ? undefined : process.env.HOME) ?? homedir();

/** The settings of a host in ~/.ssh/config. */
export interface SshHost {
  address: string;
  port: number;
  user: string;
  /** The paths of its IdentityFile lines, in their order. */
  identityFiles: string[];
  /** The value of ProxyJump. */
  jump?: string;
  /** The name of its key in known_hosts. */
  hostKeyAlias?: string;
}

/** Looks up a host in ~/.ssh/config; `fallback` provides missing settings. */
export type SshLookup = (address: string, fallback: { port: number; user: string }) => SshHost;

// Replaces ssh's default list of identity files, which would look like one from the configuration.
const noIdentity = "/nonexistent/lsyncd-as-code";

/**
 * Asks ssh itself, which knows Include, Match and every pattern. ssh uses the first value of each option, so defaults, such as
 * the name of the local user, are written after the user's own file. Throws ssh's error for a file that it cannot read.
 */
export const sshHost: SshLookup = (address, fallback) => {
  const config = [
    `Include "${join(home(), ".ssh", "config")}"`,
    "Match all",
    'Include "/etc/ssh/ssh_config"',
    "Match all",
    `User ${fallback.user}`,
    `Port ${String(fallback.port)}`,
    `IdentityFile ${noIdentity}`,
  ];
  // Node's own pipes are sockets, which cannot be opened by their name.
  const said = execFileSync("sh", ["-c", 'cat | ssh -F /dev/stdin -G -- "$1"', "sh", address], {
    input: `${config.join("\n")}\n`,
    encoding: "utf8",
    stdio: ["pipe", "pipe", "pipe"],
    timeout: 10_000,
  });
  return parseSshHost(said);
};

/** Parses the output of `ssh -G`. */
export function parseSshHost(said: string): SshHost {
  const all = (key: string): string[] =>
    said
      .split("\n")
      .filter((line) => line.startsWith(`${key} `))
      .map((line) => line.slice(key.length + 1));
  const [address = ""] = all("hostname");
  const [port = "22"] = all("port");
  const [user = "root"] = all("user");
  const [jump = "none"] = all("proxyjump");
  const [hostKeyAlias] = all("hostkeyalias");
  return {
    address,
    port: Number(port),
    user,
    identityFiles: all("identityfile").filter((path) => path !== noIdentity && path !== "none"),
    ...(jump === "none" ? {} : { jump }),
    ...(hostKeyAlias === undefined || hostKeyAlias === "none" ? {} : { hostKeyAlias }),
  };
}

/** The first of these private keys that exists; undefined if none does. */
export function readIdentity({ identityFiles, address, user }: SshHost): { path: string; text: string } | undefined {
  for (const named of identityFiles) {
    const path = named
      .replace(/^~\//, `${home()}/`)
      .replaceAll(/%([dhr%])/g, (_, token: string) => ({ d: home(), h: address, r: user })[token] ?? "%");
    try {
      return { path, text: readFileSync(path, "utf8") };
    } catch {
      // Like ssh, try the next one.
    }
  }
  return undefined;
}

/** Parses ProxyJump: `[USER@]HOST[:PORT]`, an IPv6 address in brackets. Undefined if it lists more than one host. */
export function parseJump(jump: string): { address: string; port?: number; user?: string } | undefined {
  const match = /^(?:ssh:\/\/)?(?:([^@,]+)@)?(?:\[([^\]]+)\]|([^@:,[\]]+))(?::(\d+))?$/.exec(jump);
  if (match === null) return undefined;
  const [, user, bracketed, plain, port] = match;
  return {
    address: bracketed ?? plain ?? "",
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(user === undefined ? {} : { user }),
  };
}
