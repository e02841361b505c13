import { createPrivateKey, randomBytes, type KeyObject } from "node:crypto";
import { lengthAnd } from "./ssh-format";

/** A private key in a form that a connection accepts. */
export interface LoginKey {
  privateKey: string;
  privateKeyPassword?: string;
}

/** The key cannot be used: the end of a sentence about it, which never shows the key. */
export class UnusableKey extends Error {}

/**
 * Converts a private key to a form that both the program's own connections and the command plugin read. Converts PKCS#8, which
 * openssl and some secret managers write; refuses keys that only ssh itself can read. Throws UnusableKey.
 */
export function loginKey(text: string, passphrase?: string): LoginKey {
  const key = text.replaceAll("\r\n", "\n").trimEnd() + "\n";
  const kind = /^-----BEGIN ([A-Z ]*)PRIVATE KEY-----$/m.exec(key)?.[1]?.trim();
  switch (kind) {
    case "":
    case "ENCRYPTED":
      return { privateKey: fromPkcs8(key, kind === "ENCRYPTED", passphrase) };
    case "OPENSSH":
      checkOpenssh(key, passphrase);
      break;
    case "RSA":
    case "EC":
      if (/^Proc-Type: 4,ENCRYPTED$/m.test(key)) needPassphrase(passphrase);
      break;
    default:
      throw new UnusableKey(
        `is not a private key that ssh supports${kind === undefined ? "" : ` (${kind})`}: create one with ssh-keygen -t ed25519`,
      );
  }
  return { privateKey: key, ...(passphrase === undefined ? {} : { privateKeyPassword: passphrase }) };
}

function needPassphrase(passphrase: string | undefined): string {
  if (passphrase === undefined) throw new UnusableKey("is encrypted, but privateKeyPassphrase is not set");
  return passphrase;
}

// The ciphers that the command plugin has (golang.org/x/crypto/ssh, keys.go).
const ciphers = ["aes256-ctr", "aes256-cbc"];

/** Parses the unencrypted part of an OpenSSH key (PROTOCOL.key of OpenSSH). */
function checkOpenssh(key: string, passphrase: string | undefined): void {
  const body = Buffer.from(key.replaceAll(/-----[^-]+-----/g, ""), "base64");
  const magic = "openssh-key-v1\0";
  let at = magic.length;
  const next = (): Buffer => {
    if (body.toString("latin1", 0, magic.length) !== magic || at + 4 > body.length)
      throw new UnusableKey("is truncated, or not an OpenSSH key");
    const length = body.readUInt32BE(at);
    at += 4 + length;
    return body.subarray(at - length, at);
  };
  const cipher = next().toString("latin1");
  next();
  next();
  at += 4;
  const type = next();
  const name = type.toString("latin1", 4, 4 + (type.length > 4 ? type.readUInt32BE(0) : 0));
  if (name.startsWith("sk-"))
    throw new UnusableKey(`belongs to a security key (${name}), which requires a touch: use it through an ssh-agent`);
  if (cipher === "none") return;
  needPassphrase(passphrase);
  if (!ciphers.includes(cipher))
    throw new UnusableKey(
      `is encrypted with ${cipher}, which only ssh itself can read: re-encrypt a copy ` +
        `(ssh-keygen -p -Z aes256-ctr -f COPY), and store that copy`,
    );
}

function fromPkcs8(key: string, encrypted: boolean, passphrase: string | undefined): string {
  const given = encrypted ? { passphrase: needPassphrase(passphrase) } : {};
  let read: KeyObject;
  try {
    read = createPrivateKey({ key, format: "pem", ...given });
  } catch {
    throw new UnusableKey(encrypted ? "cannot be decrypted with its privateKeyPassphrase" : "is damaged");
  }
  const { asymmetricKeyType: type = "?", asymmetricKeyDetails: details } = read;
  if (type === "rsa") return read.export({ type: "pkcs1", format: "pem" }).toString();
  if (type === "ec" && /^(prime256v1|secp384r1|secp521r1)$/.test(details?.namedCurve ?? ""))
    return read.export({ type: "sec1", format: "pem" }).toString();
  if (type === "ed25519") return opensshEd25519(read);
  throw new UnusableKey(`has a type that ssh does not support (${details?.namedCurve ?? type})`);
}

/** An Ed25519 key in OpenSSH's own form, not encrypted: the only one that everything here reads (PROTOCOL.key of OpenSSH). */
function opensshEd25519(key: KeyObject): string {
  const { d = "", x = "" } = key.export({ format: "jwk" });
  const [seed, point] = [Buffer.from(d, "base64url"), Buffer.from(x, "base64url")];
  const shared = Buffer.concat([lengthAnd("ssh-ed25519"), lengthAnd(point)]);
  const check = randomBytes(4);
  const secret = Buffer.concat([check, check, shared, lengthAnd(Buffer.concat([seed, point])), lengthAnd("")]);
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7].slice(0, (8 - (secret.length % 8)) % 8));
  const one = Buffer.from([0, 0, 0, 1]);
  const body = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    ...[lengthAnd("none"), lengthAnd("none"), lengthAnd(""), one],
    ...[lengthAnd(shared), lengthAnd(Buffer.concat([secret, padding]))],
  ]);
  const lines = body.toString("base64").replaceAll(/(.{70})(?=.)/g, "$1\n");
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines}\n-----END OPENSSH PRIVATE KEY-----\n`;
}
