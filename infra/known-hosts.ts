import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Authorities } from "./host-certificate";

// The type that OpenSSH prefers comes first: only one can be given to a connection.
const preference = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/** The words of each line of the output of `ssh-keygen -F`, without its comments. */
const linesOf = (found: string): string[][] =>
  found
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(/\s+/));

/** The keys (type and text) of the lines with a marker, such as `@revoked`. */
const marked = (found: string, marker: string): string[] =>
  linesOf(found)
    .filter(([first]) => first === marker)
    .map((words) => words.slice(2, 4).join(" "));

/**
 * Picks the best key from the output of `ssh-keygen -F`. Marked lines (revoked keys, certificate authorities) are not host
 * keys, and a key that is revoked in one line is ignored in all others.
 */
export function pickKey(found: string): string | undefined {
  const revoked = marked(found, "@revoked");
  const keys = linesOf(found)
    .filter(([first]) => !first?.startsWith("@"))
    .map((words) => words.slice(1, 3).join(" "))
    .filter((key) => !revoked.includes(key));
  return sortKeys(keys)[0];
}

/** The authorities in the output of `ssh-keygen -F` that are not revoked; undefined if there are none. */
export function pickAuthorities(found: string): Authorities | undefined {
  const revoked = marked(found, "@revoked");
  const authorities = marked(found, "@cert-authority").filter((key) => !revoked.includes(key));
  return authorities.length === 0 ? undefined : { authorities, revoked };
}

/** The keys of types that a connection supports, the best type first. A key is its type and its text. */
export function sortKeys(keys: string[]): string[] {
  return preference.flatMap((type) => keys.filter((key) => key.startsWith(`${type} `)));
}

const files = [
  join(homedir(), ".ssh", "known_hosts"),
  join(homedir(), ".ssh", "known_hosts2"),
  "/etc/ssh/ssh_known_hosts",
];

/** The name of a server in known_hosts: a port other than 22 is part of it. */
const nameOf = (address: string, port: number): string => (port === 22 ? address : `[${address}]:${String(port)}`);

/** The lines about a name in a known_hosts file. ssh-keygen reads it: it knows every form, hashed names included. */
function linesAbout(name: string, file: string): string {
  if (!existsSync(file)) return "";
  try {
    return execFileSync("ssh-keygen", ["-F", name, "-f", file], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return "";
  }
}

/**
 * Looks up a host's public key like ssh: in the user's known_hosts, then in the machine's. If there is none, returns the
 * authorities whose certificates ssh would accept, including those for its name without the port.
 */
export function knownHostKey(
  address: string,
  port: number,
  among: string | string[] = files,
): string | Authorities | undefined {
  const about = (name: string): string =>
    [among]
      .flat()
      .map((file) => linesAbout(name, file))
      .join("\n");
  const found = about(nameOf(address, port));
  const key = pickKey(found);
  if (key !== undefined) return key;
  return pickAuthorities(port === 22 ? found : `${found}\n${about(address)}`);
}
