import { execFileSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";

// The type that OpenSSH prefers comes first: only one can be given to a connection.
const preference = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/**
 * Picks the best key out of what `ssh-keygen -F` prints. Marked lines (revoked keys, certificate authorities) are
 * no host keys.
 */
export function pickKey(found: string): string | undefined {
  const keys = found
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("@"))
    .map((line) => line.split(" ").slice(1, 3));
  for (const type of preference) {
    const key = keys.find(([candidate]) => candidate === type);
    if (key) return key.join(" ");
  }
  return undefined;
}

/**
 * Looks a host's public key up in the user's known_hosts, hashed entries included. Returns undefined when it is not
 * there. ssh-keygen does the reading: it knows every form of the file.
 */
export function knownHostKey(
  address: string,
  port: number,
  file = join(homedir(), ".ssh", "known_hosts"),
): string | undefined {
  const name = port === 22 ? address : `[${address}]:${String(port)}`;
  try {
    return pickKey(
      execFileSync("ssh-keygen", ["-F", name, "-f", file], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
    );
  } catch {
    return undefined;
  }
}
