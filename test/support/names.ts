import * as fc from "fast-check";

const special = Buffer.from("?*[]\\!^-#;+ \n\r\t012a");

/** A file's name: any bytes except NUL and `/`, mostly those that are special to rsync or lsyncd. */
export const fileName: fc.Arbitrary<Buffer> = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...special) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 47) },
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map((bytes) => Buffer.from(bytes))
  .filter((name) => ![".", ".."].includes(name.toString("latin1")));

/** Different names in one directory. */
export const fileNames = (minLength: number, maxLength: number): fc.Arbitrary<Buffer[]> =>
  fc.uniqueArray(fileName, { minLength, maxLength, selector: (name) => name.toString("latin1") });

/** Bytes as a text that `Buffer.from(text, "latin1")` converts back, for comparing and printing. */
export const latin = (bytes: Buffer): string => bytes.toString("latin1");

/** Runs a property test; a failure prints its seed, and PROPERTY_SEED repeats it. */
export function holds<T>(property: fc.IProperty<T>, numRuns: number): void {
  const seed = process.env.PROPERTY_SEED === undefined ? Date.now() | 0 : Number(process.env.PROPERTY_SEED);
  console.info(`${expect.getState().currentTestName}: seed ${seed}`);
  fc.assert(property, { numRuns, seed, interruptAfterTimeLimit: 40_000 });
}
