import * as fc from "fast-check";
import * as quote from "../../infra/quote";
import { installTime, needPrograms } from "../support/programs";
import { admittedPath, assertBatch } from "./support/arbitraries";
import { evaluateLua, evaluateShell, systemdMountUnits, unquoteSystemd } from "./support/languages";

beforeAll(() => needPrograms("lua5.3", "bash", "systemd-escape"), installTime);

// Anything that UTF-8 can encode, including control characters and all kinds of line ends.
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc
    .array(fc.constantFrom("'", '"', "\\", "\n", "\r", "\r\n", "\0", "\x01", "9", "$", "`", "%", "é", "]]", "--", "#"))
    .map((parts) => parts.join("")),
);

it("lua: every text is read back unchanged", async () => {
  await assertBatch(anyText, async (values) => {
    const read = await evaluateLua(values.map((value) => `value({ ${quote.lua(value)}, 1 })`));
    expect(read.map(({ value }) => value)).toEqual(values.map((value) => [value, 1]));
  });
});

it("sh: every text that a word can hold is read back as one word", async () => {
  const word = anyText.map((value) => value.replaceAll("\0", ""));
  await assertBatch(word, async (values) => {
    const assignments = values.map((value) => ({ text: `A=(${quote.sh(value)} 1)`, variable: "A" }));
    expect(await evaluateShell(assignments)).toEqual(values.map((value) => [value, "1"]));
  });
});

it("mountUnit: returns the same names as systemd", async () => {
  await assertBatch(admittedPath, async (values) => {
    expect(values.map(quote.mountUnit)).toEqual(await systemdMountUnits(values));
  });
});

it("systemdWord and systemdArg: the documented unquoting returns the value", () => {
  fc.assert(
    fc.property(
      anyText.filter((value) => !/[\x00-\x1f\x7f]/.test(value)),
      (value) => {
        expect(unquoteSystemd(`${quote.systemdWord(value)} 1`)).toEqual([value, "1"]);
        const [argument, ...rest] = unquoteSystemd(`${quote.systemdArg(value)} 1`);
        expect([argument?.replaceAll("$$", "$"), ...rest]).toEqual([value, "1"]);
      },
    ),
  );
});
