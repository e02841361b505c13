import type { Socket } from "node:net";
import type { CutDisk } from "./disk";

// The NBD protocol, fixed newstyle (github.com/NetworkBlockDevice/nbd, doc/proto.md): what QEMU's client uses of it.
const magic = { init: 0x4e42444d41474943n, option: 0x49484156454f5054n, reply: 0x3e889045565a9n };
const requestMagic = 0x25609513;
const replyMagic = 0x67446698;
const options = { exportName: 1, abort: 2, info: 6, go: 7 };
const replies = { ack: 1, info: 3, unsupported: 0x80000001 };
const commands = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4 };
// NBD_FLAG_HAS_FLAGS, NBD_FLAG_SEND_FLUSH, NBD_FLAG_SEND_FUA
const transmissionFlags = 1 | 4 | 8;
const fua = 1;
const errorIo = 5;
const errorInvalid = 22;

/** Takes exactly so many bytes from a stream, waiting for them; undefined when it ends before. */
type Take = (length: number) => Promise<Buffer | undefined>;

function taker(socket: Socket): Take {
  const chunks: Buffer[] = [];
  let have = 0;
  let wake: () => void = () => undefined;
  let ended = false;
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    have += chunk.length;
    wake();
  });
  const end = (): void => {
    ended = true;
    wake();
  };
  socket.on("close", end);
  socket.on("error", end);
  return async (length) => {
    while (have < length) {
      if (ended) return undefined;
      await new Promise<void>((done) => {
        wake = done;
      });
    }
    const all = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
    chunks.length = 0;
    if (all.length > length) chunks.push(all.subarray(length));
    have -= length;
    return all.subarray(0, length);
  };
}

function words(...values: [size: 2 | 4 | 8, value: number | bigint][]): Buffer {
  const buffer = Buffer.alloc(values.reduce((sum, [size]) => sum + size, 0));
  let at = 0;
  for (const [size, value] of values) {
    if (size === 8) buffer.writeBigUInt64BE(BigInt(value), at);
    else if (size === 4) buffer.writeUInt32BE(Number(value), at);
    else buffer.writeUInt16BE(Number(value), at);
    at += size;
  }
  return buffer;
}

/** Agrees with a client on the one export there is. False when it went away. */
async function handshake(socket: Socket, disk: CutDisk, take: Take): Promise<boolean> {
  socket.write(words([8, magic.init], [8, magic.option], [2, 1 | 2]));
  if (!(await take(4))) return false;
  for (;;) {
    const head = await take(16);
    if (!head) return false;
    const option = head.readUInt32BE(8);
    if (!(await take(head.readUInt32BE(12)))) return false;
    const reply = (type: number, data: Buffer = Buffer.alloc(0)): void => {
      socket.write(Buffer.concat([words([8, magic.reply], [4, option], [4, type], [4, data.length]), data]));
    };
    if (option === options.exportName) {
      socket.write(Buffer.concat([words([8, disk.size], [2, transmissionFlags]), Buffer.alloc(124)]));
      return true;
    }
    if (option === options.go || option === options.info) {
      reply(replies.info, words([2, 0], [8, disk.size], [2, transmissionFlags]));
      reply(replies.ack);
      if (option === options.go) return true;
    } else if (option === options.abort) {
      reply(replies.ack);
      return false;
    } else reply(replies.unsupported);
  }
}

/** Serves a disk to one client until it goes away. */
export async function serve(socket: Socket, disk: CutDisk): Promise<void> {
  const fails = (what: "read" | "write"): boolean => disk.failing === "all" || disk.failing === what;
  const take = taker(socket);
  if (!(await handshake(socket, disk, take))) return;
  for (;;) {
    const head = await take(28);
    if (head?.readUInt32BE(0) !== requestMagic) return;
    const flags = head.readUInt16BE(4);
    const command = head.readUInt16BE(6);
    const offset = Number(head.readBigUInt64BE(16));
    const length = head.readUInt32BE(24);
    const reply = (error: number, data?: Buffer): void => {
      const start = Buffer.concat([words([4, replyMagic], [4, error]), head.subarray(8, 16)]);
      socket.write(data ? Buffer.concat([start, data]) : start);
    };
    if (command === commands.disconnect) return;
    const written = command === commands.write ? await take(length) : undefined;
    if (command === commands.write && !written) return;
    if (offset + length > disk.size) reply(errorInvalid);
    else if (command === commands.read) {
      if (fails("read")) reply(errorIo);
      else reply(0, disk.read(offset, length));
    } else if (written) {
      if (fails("write")) reply(errorIo);
      else {
        disk.write(offset, written);
        if (flags & fua) disk.flushRange(offset, length);
        reply(0);
      }
    } else if (command === commands.flush) {
      if (fails("write")) reply(errorIo);
      else {
        disk.flush();
        reply(0);
      }
    } else reply(command === commands.trim ? 0 : errorInvalid);
  }
}
