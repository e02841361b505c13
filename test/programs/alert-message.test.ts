import { join } from "node:path";
import * as fc from "fast-check";
import { simpleParser } from "mailparser";
import { run } from "../../toolchain/run";
import { library } from "../support/monitor";
import { installTime, needPrograms } from "../support/programs";

beforeAll(() => needPrograms("perl"), installTime);

const program = join(library, "alert-message");
const header =
  "From: Lsyncd on h <lsyncd@example.org>\nTo: ops@example.org\nTo: dba@example.org\nSubject: [ALERT] é\n\n";

async function message(text: Buffer): Promise<string> {
  // The bytes are passed as hexadecimal, because a child's standard input is text here.
  const script = `set -o pipefail; perl -ne 'print pack "H*", $_' | "$0"`;
  const { stdout } = await run("bash", ["-c", script, program], { input: text.toString("hex") });
  return stdout;
}

const whole = (text: Buffer | string) => message(Buffer.concat([Buffer.from(header), Buffer.from(text)]));

it("a message has every recipient, and its text can be decoded", async () => {
  const parsed = await simpleParser(await whole("grüße 日本 🦊\n\n.\n..\nFrom me\nend = \t \n"));
  expect(parsed.subject).toBe("[ALERT] é");
  expect(parsed.to && !Array.isArray(parsed.to) && parsed.to.value.map(({ address }) => address)).toEqual([
    "ops@example.org",
    "dba@example.org",
  ]);
  expect(parsed.text).toBe("grüße 日本 🦊\n\n.\n..\nFrom me\nend = \t \n");
});

it("a message is plain ASCII in short lines for any bytes, and hides nothing", async () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
  const nasty = fc
    .array(fc.constantFrom("From ", ".", "\r", "\n", "\0", "\x1b[31m", "=", "=\n", " \n", "é", "\xff", "x".repeat(80)))
    .map((parts) => Buffer.from(parts.join(""), "latin1"));
  await fc.assert(
    fc.asyncProperty(fc.oneof(bytes, nasty), async (text) => {
      const mail = await whole(text);
      expect(mail).toMatch(/^[\t\n\x20-\x7e]*$/);
      const [, body = ""] = mail.split(/\n\n([^]*)/);
      for (const line of body.split("\n")) {
        expect(line.length).toBeLessThanOrEqual(76);
        expect(line).not.toMatch(/^(\.|From )/);
        expect(line).not.toMatch(/[ \t]$/);
      }
      // Printable characters are unchanged.
      const words = text.toString("latin1").match(/[a-z]{3,}/g) ?? [];
      const { text: shown = "" } = await simpleParser(mail);
      for (const word of words) expect(shown).toContain(word);
    }),
    { numRuns: 40 },
  );
});

it("a line of a megabyte is truncated, and the number of missing bytes is given", async () => {
  const stdout = await message(Buffer.from(`To: a@b\n\n${"x".repeat(1_000_000)}`));
  expect(stdout.length).toBeLessThan(2000);
  expect((await simpleParser(stdout)).text).toMatch(/^x{1000} \[\.\.\. 999000 bytes more\]\n$/);
});

it("a message without a recipient, or with an invalid header, is refused", async () => {
  await expect(message(Buffer.from("Subject: x\n\ny"))).rejects.toThrow("no recipient");
  await expect(message(Buffer.from("To: a@b\nnone\n\ny"))).rejects.toThrow("not a header line");
});
