import { spawnSync } from "node:child_process";
import { programs } from "../../tools/torture/settings";

/**
 * Runs Perl code with the host's modules at hand: bytes in, bytes out. `$in` is all of standard input.
 * Throws with what Perl said when it fails.
 */
export function perl(code: string, input: Buffer | string = "", ...args: (string | Buffer)[]): Buffer {
  const begin = "use strict; use warnings; my $in = do { local $/; <STDIN> // '' };";
  const { status, stdout, stderr } = spawnSync(
    "perl",
    ["-I", programs, "-e", `${begin} ${code}`, "--", ...args.map(String)],
    {
      input,
      maxBuffer: 1 << 28,
    },
  );
  if (status !== 0) throw new Error(`perl ended with ${status}: ${stderr.toString()}`);
  return stdout;
}

/** Texts with a NUL after each, as bytes. */
export const joined = (texts: Buffer[]): Buffer => Buffer.concat(texts.flatMap((text) => [text, Buffer.from([0])]));

/** Splits a text that `joined` made. */
export function split(bytes: Buffer): Buffer[] {
  const texts = bytes.toString("latin1").split("\0");
  return texts.slice(0, -1).map((text) => Buffer.from(text, "latin1"));
}
