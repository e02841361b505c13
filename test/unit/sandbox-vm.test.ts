import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { block, CutDisk, seeded, type LossMode } from "../../tools/sandbox/vm/disk";

let folder: string;
let image: string;
const size = 16 * block;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-disk-"));
  image = join(folder, "disk.img");
  writeFileSync(image, "");
  truncateSync(image, size);
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const filled = (byte: number, length: number): Buffer => Buffer.alloc(length, byte);

it("a read returns what was written, flushed or not, at any block boundaries", () => {
  const write = fc.record({
    offset: fc.integer({ min: 0, max: size - 1 }),
    length: fc.integer({ min: 1, max: 3 * block }),
    byte: fc.integer({ min: 1, max: 255 }),
    flush: fc.constantFrom("no", "all", "range"),
  });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 20 }), (writes) => {
      writeFileSync(image, filled(0, size));
      const disk = new CutDisk(image);
      const model = filled(0, size);
      for (const { offset, length, byte, flush } of writes) {
        const data = filled(byte, Math.min(length, size - offset));
        data.copy(model, offset);
        disk.write(offset, data);
        if (flush === "all") disk.flush();
        if (flush === "range") disk.flushRange(offset, data.length);
        expect(disk.read(0, size).equals(model)).toBe(true);
      }
      disk.flush();
      disk.close();
      expect(readFileSync(image).equals(model)).toBe(true);
    }),
    { numRuns: 50 },
  );
});

it.each<[LossMode, number]>([
  ["drop", 1],
  ["keep", 2],
])("with %s, a power cut keeps all flushed blocks, and %d of the others", (mode, left) => {
  const disk = new CutDisk(image);
  disk.write(0, filled(1, 2 * block));
  disk.flush();
  disk.write(block, filled(2, block));
  disk.cut(mode, seeded(1));
  const found = readFileSync(image);
  expect([found[0], found[block], found[2 * block]]).toEqual([1, left, 0]);
});

it("with random loss, each block has a content it had since its last flush, and different seeds give different results", () => {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 40; seed++) {
    writeFileSync(image, filled(0, size));
    const disk = new CutDisk(image);
    disk.write(0, filled(1, block));
    disk.flush();
    disk.write(0, filled(2, block));
    disk.write(0, filled(3, block));
    disk.cut("random", seeded(seed));
    seen.add(readFileSync(image)[0] ?? -1);
  }
  expect([...seen].sort()).toEqual([1, 2, 3]);
});

it("a FUA write survives a power cut; an earlier write may be lost", () => {
  const disk = new CutDisk(image);
  disk.write(0, filled(1, block));
  disk.write(block, filled(2, block));
  disk.flushRange(block, block);
  disk.cut("drop", seeded(1));
  const found = readFileSync(image);
  expect([found[0], found[block]]).toEqual([0, 2]);
});
