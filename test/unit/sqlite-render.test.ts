import fc from "fast-check";
import { DEFAULTS, perl, renderText } from "../../tools/torture/render";

const settings = { ...DEFAULTS, stateDirectory: "/var/lib/x", source: "/mnt/a", target: "/mnt/b" };

describe("perl", () => {
  test.each([
    ["plain", "'plain'"],
    ["it's", "'it\\'s'"],
    ["back\\slash", "'back\\\\slash'"],
    ["$x @y {{z}}", "'$x @y {{z}}'"],
    [2, "2"],
    [0.2, "0.2"],
    [true, "1"],
    [["*.db", "a'b"], "['*.db', 'a\\'b']"],
  ])("quotes %j as %s", (value, literal) => {
    expect(perl(value)).toBe(literal);
  });

  test("never ends the string early", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }).filter((s) => !s.includes("\0")),
        (value) => {
          // What Perl reads between the outer quotes: only \\ and \' are escapes in a single-quoted string.
          const inner = perl(value).slice(1, -1);
          expect(inner).toMatch(/^(?:[^\\']|\\[\\'])*$/s);
          expect(inner.replace(/\\([\\'])/g, "$1")).toBe(value);
        },
      ),
    );
  });

  test.each([["a\0b"], [Number.NaN], [Infinity]])("refuses %j", (value) => {
    expect(() => perl(value)).toThrow();
  });
});

test("a template's missing value is an error, and its text is not escaped for HTML", () => {
  expect(renderText("{{perl source}}", { ...settings, source: "/mnt/a&b" })).toBe("'/mnt/a&b'");
  expect(() => renderText("{{perl nothing}}", settings)).toThrow();
});
