import { createPublicKey, verify, type JsonWebKey } from "node:crypto";
import { Truncated, fingerprint, lengthAnd, Reader } from "./ssh-format";

/** The certificate authorities in known_hosts for a host whose key is not listed: keys as type and text. */
export interface Authorities {
  /** Authorities whose certificates are accepted for this host (`@cert-authority`). */
  authorities: string[];
  /** Refused keys of hosts and authorities (`@revoked`). */
  revoked: string[];
}

/** A certificate that is not accepted for a host: the message is the end of a sentence about it. */
export class UnusableCertificate extends Error {}

/** The algorithms to ask a host for: of each plain key that a connection can be given, its certificate, the best first. */
export const certificateTypes = [
  "ssh-ed25519-cert-v01@openssh.com",
  "ecdsa-sha2-nistp256-cert-v01@openssh.com",
  "ecdsa-sha2-nistp384-cert-v01@openssh.com",
  "ecdsa-sha2-nistp521-cert-v01@openssh.com",
];

const suffix = "-cert-v01@openssh.com";

const asLine = (blob: Buffer): string => `${new Reader(blob).text()} ${blob.toString("base64")}`;

interface Certificate {
  plainKey: Buffer;
  type: number;
  principals: string[];
  after: number;
  before: number;
  critical: Buffer;
  authority: Buffer;
  signature: Buffer;
  signed: Buffer;
}

/** Reads a certificate of a type in certificateTypes (PROTOCOL.certkeys of OpenSSH). Throws UnusableCertificate, and Truncated. */
function parse(blob: Buffer): Certificate {
  const reader = new Reader(blob);
  const name = reader.text();
  if (!certificateTypes.includes(name)) throw new UnusableCertificate(`is not a host certificate (${name})`);
  const plain = name.slice(0, -suffix.length);
  reader.string();
  const parts = plain === "ssh-ed25519" ? [reader.string()] : [reader.string(), reader.string()];
  reader.take(8);
  const type = reader.number();
  reader.string();
  const list = new Reader(reader.string());
  const principals: string[] = [];
  while (!list.ended) principals.push(list.text());
  const [after, before] = [reader.time(), reader.time()];
  const critical = reader.string();
  reader.string();
  reader.string();
  const authority = reader.string();
  const signed = blob.subarray(0, reader.position);
  const signature = reader.string();
  if (!reader.ended) throw new UnusableCertificate("has extra data after its signature");
  const plainKey = Buffer.concat([plain, ...parts].map(lengthAnd));
  return { plainKey, type, principals, after, before, critical, authority, signature, signed };
}

const curves: Record<string, { crv: string; hash: string; bytes: number }> = {
  "ecdsa-sha2-nistp256": { crv: "P-256", hash: "sha256", bytes: 32 },
  "ecdsa-sha2-nistp384": { crv: "P-384", hash: "sha384", bytes: 48 },
  "ecdsa-sha2-nistp521": { crv: "P-521", hash: "sha512", bytes: 66 },
};

// OpenSSH accepts no SHA-1 signatures (ssh-rsa), see CASignatureAlgorithms in ssh_config(5).
const rsaHashes: Record<string, string> = { "rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512" };

const publicKey = (jwk: JsonWebKey) => createPublicKey({ key: jwk, format: "jwk" });
const url = (bytes: Buffer): string => bytes.toString("base64url");

/** An integer of SSH with this many bytes: it has a zero in front of a high bit, and none that it does not need. */
function fixed(number: Buffer, bytes: number): Buffer {
  const digits = number.subarray(number.findIndex((byte) => byte !== 0));
  if (digits.length > bytes) throw new UnusableCertificate("has a damaged signature");
  return Buffer.concat([Buffer.alloc(bytes - digits.length), digits]);
}

/** Whether an authority has signed this. Throws UnusableCertificate for a type of key or signature that is not taken. */
function isSigned(authority: Buffer, signature: Buffer, signed: Buffer): boolean {
  const key = new Reader(authority);
  const given = new Reader(signature);
  const [type, how] = [key.text(), given.text()];
  const bytes = given.string();
  if (type === "ssh-ed25519" && how === type)
    return verify(null, signed, publicKey({ kty: "OKP", crv: "Ed25519", x: url(key.string()) }), bytes);
  const curve = curves[type];
  if (curve !== undefined && how === type) {
    key.string();
    const point = key.string().subarray(1);
    const [x, y] = [point.subarray(0, curve.bytes), point.subarray(curve.bytes)];
    const numbers = new Reader(bytes);
    const raw = Buffer.concat([numbers.string(), numbers.string()].map((number) => fixed(number, curve.bytes)));
    const at = publicKey({ kty: "EC", crv: curve.crv, x: url(x), y: url(y) });
    return verify(curve.hash, signed, { key: at, dsaEncoding: "ieee-p1363" }, raw);
  }
  const hash = rsaHashes[how];
  if (type === "ssh-rsa" && hash !== undefined) {
    const [e, n] = [key.string(), key.string()];
    return verify(hash, signed, publicKey({ kty: "RSA", e: url(e), n: url(n) }), bytes);
  }
  throw new UnusableCertificate(`has an unsupported kind of signature (${type}, ${how})`);
}

const day = (seconds: number): string =>
  seconds > 253_402_300_799 ? "the end of time" : new Date(seconds * 1000).toISOString();

/**
 * The plain key (type and text) that a certificate vouches for, checked as ssh checks it: signed by an authority that known_hosts
 * has for this host, of a host, for this name, today, with no option that is not understood, and neither key revoked. Stricter
 * than ssh in one thing: a certificate that names no host is not taken for all of them. Throws UnusableCertificate.
 */
export function certifiedKey(blob: Buffer, name: string, known: Authorities, now: Date): string {
  try {
    return check(blob, name, known, now);
  } catch (error) {
    throw error instanceof Truncated ? new UnusableCertificate("is truncated") : error;
  }
}

function check(blob: Buffer, name: string, { authorities, revoked }: Authorities, now: Date): string {
  const one = parse(blob);
  const [key, authority] = [asLine(one.plainKey), asLine(one.authority)];
  if (!authorities.includes(authority))
    throw new UnusableCertificate(
      `is signed by ${fingerprint(one.authority)}, which is not an authority for this host`,
    );
  if (revoked.includes(authority)) throw new UnusableCertificate("is signed by a revoked authority");
  if (revoked.includes(key)) throw new UnusableCertificate("certifies a revoked key");
  if (!isSigned(one.authority, one.signature, one.signed))
    throw new UnusableCertificate("is not signed by the authority that it names");
  if (one.type !== 2) throw new UnusableCertificate("is for a user, not for a host");
  if (!one.principals.includes(name.toLowerCase()))
    throw new UnusableCertificate(
      one.principals.length === 0
        ? `names no host (sign it with -n ${name})`
        : `is for ${one.principals.join(", ")}, not for ${name}`,
    );
  const seconds = now.getTime() / 1000;
  if (seconds < one.after) throw new UnusableCertificate(`is valid only from ${day(one.after)}`);
  if (seconds >= one.before) throw new UnusableCertificate(`has expired (${day(one.before)})`);
  if (one.critical.length > 0)
    throw new UnusableCertificate("has a critical option, which a host certificate must not have");
  return key;
}
