import { createHash } from "node:crypto";

/** The data ends too early. */
export class Truncated extends Error {}

/** Reads SSH's binary format (RFC 4251). Throws Truncated for what ends too early. */
export class Reader {
  private at = 0;
  constructor(private readonly bytes: Buffer) {}
  take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw new Truncated("is truncated");
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  number(): number {
    return this.take(4).readUInt32BE(0);
  }
  /** Seconds since 1970; all ones, which mean for ever, are a number past every date. */
  time(): number {
    return Number(this.take(8).readBigUInt64BE(0));
  }
  string(): Buffer {
    return this.take(this.number());
  }
  text(): string {
    return this.string().toString("latin1");
  }
  get position(): number {
    return this.at;
  }
  get ended(): boolean {
    return this.at === this.bytes.length;
  }
}

/** A string with its length before it, as SSH writes it. */
export function lengthAnd(content: Buffer | string): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** A key's fingerprint as ssh-keygen -l shows it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}
