import { spawnSync } from "node:child_process";
import { isUtf8 } from "node:buffer";
import * as fc from "fast-check";
import { script } from "../../infra/commands/script";

/** Runs a command with the output filter that a host uses. */
function printed(body: string, input: Buffer = Buffer.alloc(0)) {
  const text = `${script({ INPUT: input.toString("base64") }, ["output.sh"])}\n${body}\n`;
  const { status, stdout, stderr } = spawnSync("bash", ["-c", 'eval "$(cat)"', "test"], { input: text });
  return { code: status, stdout, stderr };
}

const echo = 'printf %s "$INPUT" | base64 -d';

it("any output arrives as UTF-8 in lines that the plugin accepts", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.string({ unit: "binary", maxLength: 200 }).map((text) => Buffer.from(text)),
    fc.integer({ min: 15_990, max: 70_000 }).map((length) => Buffer.alloc(length, 0xff)),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      const { stdout } = printed(echo, Buffer.from(given));
      expect(isUtf8(stdout)).toBe(true);
      for (const line of stdout.toString("latin1").split("\n")) expect(line.length).toBeLessThan(64 * 1024);
      expect(stdout.toString()).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f]/);
    }),
    { numRuns: 40 },
  );
});

it("text is unchanged, and other bytes are shown as shell escapes", () => {
  const text = "naïve – 日本 🦊\tok\n\nlast, without an end";
  expect(printed(echo, Buffer.from(text)).stdout.toString()).toBe(text);
  expect(printed("printf 'caf\\351/\\033[31m\\n'").stdout.toString()).toBe("caf\\xe9/\\x1b[31m\n");
});

it("both streams stay separate and complete, and the exit code is kept", () => {
  const { code, stdout, stderr } = printed("seq 20000; seq 20000 >&2; (exit 5); echo $?; exit 7");
  expect(code).toBe(7);
  expect(stdout.toString().split("\n").slice(-3)).toEqual(["20000", "5", ""]);
  expect(stderr.toString().split("\n").slice(-2)).toEqual(["20000", ""]);
  expect(printed("false").code).toBe(1);
});
