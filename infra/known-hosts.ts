import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

// The type that OpenSSH prefers comes first: only one can be given to a connection.
const preference = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/**
 * Picks the best key out of what `ssh-keygen -F` prints. Marked lines (revoked keys, certificate authorities) are
 * no host keys, and a key that is revoked in one line is none in another.
 */
export function pickKey(found: string): string | undefined {
  const lines = found.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const revoked = lines
    .filter((line) => line.startsWith("@revoked"))
    .map((line) => line.split(/\s+/).slice(2, 4).join(" "));
  const keys = lines
    .filter((line) => !line.startsWith("@"))
    .map((line) => line.split(/\s+/).slice(1, 3))
    .filter((key) => !revoked.includes(key.join(" ")));
  return sortKeys(keys.map((key) => key.join(" ")))[0];
}

/** The keys of types that a connection can be given, the best type first. A key is its type and its text. */
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

/** Looks a host's public key up where ssh does: in the user's known_hosts, then in the machine's. */
export function knownHostKey(address: string, port: number, among: string | string[] = files): string | undefined {
  const name = nameOf(address, port);
  return pickKey(
    [among]
      .flat()
      .map((file) => linesAbout(name, file))
      .join("\n"),
  );
}
