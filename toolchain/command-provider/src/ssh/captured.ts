import { isUtf8 } from "node:buffer";
import { StringDecoder } from "node:string_decoder";

/** The longest line of output, in bytes: the official plugin reads lines with a buffer of 64 KiB, and hangs at a longer one. */
const LONGEST_LINE = 64 * 1024 - 1;

/** One stream of a command's output, and whether the official plugin could take it. */
export class Captured {
  /** Why it could not; undefined when it could. */
  get fault(): string | undefined {
    if (this.tooLong) return `a line of output is longer than ${LONGEST_LINE} bytes`;
    // In the words in which the engine's protocol refuses it.
    return isUtf8(Buffer.concat(this.pieces)) ? undefined : "string field contains invalid UTF-8";
  }

  get text(): string {
    return Buffer.concat(this.pieces).toString();
  }

  private readonly pieces: Buffer[] = [];
  private readonly decoder = new StringDecoder("utf8");
  private lineLength = 0;
  private tooLong = false;

  /** Keeps a piece, and returns as much text as is complete with it. */
  add(bytes: Buffer): string {
    this.pieces.push(bytes);
    for (let start = 0; start < bytes.length;) {
      const end = bytes.indexOf(10, start);
      this.lineLength += (end < 0 ? bytes.length : end) - start;
      this.tooLong ||= this.lineLength > LONGEST_LINE;
      if (end < 0) break;
      this.lineLength = 0;
      start = end + 1;
    }
    return this.decoder.write(bytes);
  }
}
