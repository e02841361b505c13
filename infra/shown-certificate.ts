import { createECDH, generateKeyPairSync, randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { certificateTypes, UnusableCertificate } from "./host-certificate";
import { lengthAnd, Reader } from "./ssh-format";

/**
 * Asks an SSH server for its certificate: the first packets of a connection (RFC 4253, RFC 5656), which are not encrypted. Nothing
 * shows that the server has the private key. The connections that follow ask for that: they take only the key that is certified.
 */

// Message numbers.
const [disconnect, kexinit, ecdhInit, ecdhReply] = [1, 20, 30, 31] as const;

// Bytes: no packet of a server is longer before the keys are agreed on (RFC 4253, section 6.1).
const longest = 35_000;

// Bytes of everything that a server sends before the certificate: two packets, and lines in front of the version.
const most = 3 * longest;

// Every current server offers one of these. Nothing is ever encrypted with them.
const ciphers = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr";
const macs = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512";
const exchanges = ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"];

function packet(payload: Buffer): Buffer {
  const padding = 8 - ((payload.length + 5) % 8);
  const filled = padding < 4 ? padding + 8 : padding;
  const head = Buffer.alloc(5);
  head.writeUInt32BE(payload.length + filled + 1);
  head.writeUInt8(filled, 4);
  return Buffer.concat([head, payload, Buffer.alloc(filled)]);
}

function proposal(): Buffer {
  const lists = [exchanges.join(","), certificateTypes.join(","), ciphers, ciphers, macs, macs, "none", "none", "", ""];
  return Buffer.concat([Buffer.from([kexinit]), randomBytes(16), ...lists.map(lengthAnd), Buffer.alloc(5)]);
}

/** The first of our methods that the server supports. */
function agreed(theirs: Reader): string {
  theirs.take(17);
  const offered = theirs.text().split(",");
  const exchange = exchanges.find((one) => offered.includes(one));
  if (exchange === undefined) throw new Error("it supports no key exchange method of this program");
  const keys = theirs.text().split(",");
  if (!certificateTypes.some((type) => keys.includes(type)))
    throw new UnusableCertificate(`is missing: the server offers only ${keys.join(", ")}`);
  return exchange;
}

function publicPoint(exchange: string): Buffer {
  if (exchange === "ecdh-sha2-nistp256") return createECDH("prime256v1").generateKeys();
  const { x = "" } = generateKeyPairSync("x25519").publicKey.export({ format: "jwk" });
  return Buffer.from(x, "base64url");
}

/** Cuts a stream into the payloads of packets, after the server's line with its version. */
async function* payloads(stream: Duplex): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  let greeted = false;
  let received = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    received += chunk.length;
    if (received > most) throw new Error("it does not speak SSH");
    rest = Buffer.concat([rest, chunk]);
    while (!greeted) {
      const end = rest.indexOf("\n");
      if (end < 0) break;
      greeted = rest.toString("latin1", 0, 4) === "SSH-";
      rest = rest.subarray(end + 1);
    }
    while (greeted && rest.length >= 5) {
      const length = rest.readUInt32BE(0);
      if (length < 2 || length > longest) throw new Error("it does not speak SSH");
      if (rest.length < length + 4) break;
      const payload = rest.subarray(5, 4 + length - rest.readUInt8(4));
      rest = rest.subarray(4 + length);
      yield payload;
    }
  }
}

/**
 * The certificate that a server shows first, over a stream to it, which is closed at the end. Throws UnusableCertificate when it
 * has none, and an error if it closes the stream or sends anything else.
 */
export async function shownCertificate(stream: Duplex): Promise<Buffer> {
  try {
    stream.write("SSH-2.0-lsyncd_as_code\r\n");
    stream.write(packet(proposal()));
    for await (const payload of payloads(stream)) {
      const reader = new Reader(payload);
      const [kind] = payload;
      if (kind === kexinit) {
        const point = publicPoint(agreed(reader));
        stream.write(packet(Buffer.concat([Buffer.from([ecdhInit]), lengthAnd(point)])));
      } else if (kind === ecdhReply) {
        reader.take(1);
        return reader.string();
      } else if (kind === disconnect) break;
    }
    throw new Error("the host closed the connection");
  } finally {
    stream.destroy();
  }
}
