import { execFileSync } from "node:child_process";
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
