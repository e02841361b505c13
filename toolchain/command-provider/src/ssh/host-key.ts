import type { ServerHostKeyAlgorithm } from "ssh2";

/** A host's public key, as one line of an authorized_keys or .pub file gives it. */
export interface HostKey {
  type: string;
  blob: Buffer;
}

/** Parses `TYPE BASE64 [COMMENT]`. Throws when the line is something else. */
export function parseHostKey(line: string): HostKey {
  const [type, encoded] = line.trim().split(/\s+/);
  const blob = Buffer.from(encoded ?? "", "base64");
  // The blob starts with the type again, as a length and a string (RFC 4253, 6.6).
  if (type === undefined || blob.length < 8 || blob.subarray(4, 4 + blob.readUInt32BE(0)).toString() !== type) {
    throw new Error(`hostKey must be a public key such as "ssh-ed25519 AAAA…", as in the host's ssh_host_*_key.pub`);
  }
  return { type, blob };
}

/**
 * The signature algorithms to ask for, so that the host answers with the key of this type: the one with the type's name, as
 * the official plugin asks. For ssh-rsa that is SHA-1, which OpenSSH servers from 8.8 on do not have any more.
 */
export function algorithmsOf(type: string): ServerHostKeyAlgorithm[] {
  // ssh2 knows which algorithms it has, and refuses the others by name.
  return [type as ServerHostKeyAlgorithm];
}
