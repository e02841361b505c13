import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";

/**
 * Which unflushed writes survive a power cut: none of them (`drop`), all of them (`keep`), or a random
 * subset in which every block has its content of some write or of before (`random`). A disk may do any of these.
 */
export const lossModes = ["drop", "keep", "random"] as const;

/** One of the loss modes. */
export type LossMode = (typeof lossModes)[number];

/** Which requests a disk answers with an I/O error; all of them once its power has failed. */
export type Failing = "none" | "read" | "write" | "all";

/** The size of the pieces that a disk writes as a whole, in bytes: what a power cut leaves of one is old or new. */
export const block = 4096;

/** Random numbers from 0 to 1 that a seed repeats (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * A disk with a volatile write cache over an image file: what is written stays in memory until a flush. A cut loses it, as a
 * power cut does; killing the machine's process would not, because the page cache below it survives.
 */
export class CutDisk {
  private readonly fd: number;
  /** The unflushed contents of each block, oldest first; the last one is what a read sees. */
  private readonly unflushed = new Map<number, Buffer[]>();
  /** In bytes. */
  readonly size: number;
  failing: Failing = "none";

  constructor(path: string) {
    this.fd = openSync(path, "r+");
    this.size = fstatSync(this.fd).size;
  }

  /** Reads what was written last, flushed or not. */
  read(offset: number, length: number): Buffer {
    const data = this.stored(offset, length);
    if (this.unflushed.size === 0) return data;
    for (let number = Math.floor(offset / block); number * block < offset + length; number++) {
      const newest = this.unflushed.get(number)?.at(-1);
      if (!newest) continue;
      const from = Math.max(offset, number * block);
      const to = Math.min(offset + length, (number + 1) * block);
      newest.copy(data, from - offset, from - number * block, to - number * block);
    }
    return data;
  }

  /** Writes into the cache. */
  write(offset: number, data: Buffer): void {
    for (let at = 0; at < data.length;) {
      const number = Math.floor((offset + at) / block);
      const inside = offset + at - number * block;
      const piece = data.subarray(at, at + block - inside);
      const versions = this.unflushed.get(number) ?? [];
      const next =
        piece.length === block
          ? Buffer.alloc(block)
          : Buffer.from(versions.at(-1) ?? this.stored(number * block, block));
      piece.copy(next, inside);
      versions.push(next);
      this.unflushed.set(number, versions);
      at += piece.length;
    }
  }

  /** Writes all that is cached to the image. */
  flush(): void {
    for (const [number, versions] of this.unflushed) this.store(number, versions.at(-1));
    this.unflushed.clear();
  }

  /** Writes the blocks of a range to the image, and no others: a write with FUA. */
  flushRange(offset: number, length: number): void {
    for (let number = Math.floor(offset / block); number * block < offset + length; number++) {
      this.store(number, this.unflushed.get(number)?.at(-1));
      this.unflushed.delete(number);
    }
  }

  /** The power fails: keeps the part of the cache that the mode defines, and discards the rest. Returns the number of blocks that lost a write. */
  cut(mode: LossMode, random: () => number): number {
    let lost = 0;
    for (const [number, versions] of this.unflushed) {
      const kept =
        mode === "keep" ? versions.length : mode === "drop" ? 0 : Math.floor(random() * (versions.length + 1));
      if (kept < versions.length) lost++;
      if (kept > 0) this.store(number, versions[kept - 1]);
    }
    this.unflushed.clear();
    this.failing = "all";
    fdatasyncSync(this.fd);
    return lost;
  }

  /** Closes the image without a flush. */
  close(): void {
    closeSync(this.fd);
  }

  private stored(offset: number, length: number): Buffer {
    const data = Buffer.alloc(length);
    for (let got = 0; got < length;) {
      const read = readSync(this.fd, data, got, length - got, offset + got);
      if (read === 0) break;
      got += read;
    }
    return data;
  }

  private store(number: number, content: Buffer | undefined): void {
    if (content) writeSync(this.fd, content, 0, Math.min(block, this.size - number * block), number * block);
  }
}
