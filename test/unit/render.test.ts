import fs from "node:fs";
import { render, type Context } from "../../infra/render";

let templates = 0;

/** Renders a text as if it were a file of templates/. */
function renderText(text: string, context: Context): string {
  const read = jest.spyOn(fs, "readFileSync").mockReturnValueOnce(text);
  try {
    return render(`test-${String(++templates)}.hbs`, context);
  } finally {
    read.mockRestore();
  }
}

it("writes values with the quoting helper of the language", () => {
  expect(renderText("a = {{lua a}}\n", { a: 'x"y' })).toBe('a = "x\\"y"\n');
  expect(renderText("a={{sh a}}\n", { a: "x y" })).toBe("a='x y'\n");
});

it("writes a list as words of the language", () => {
  const context = { list: ["a b", "c"] };
  expect(renderText("{{lua list}}", context)).toBe('"a b", "c"');
  expect(renderText("{{sh list}}", context)).toBe("'a b' c");
});

it("does not escape HTML", () => {
  expect(renderText("{{sh a}}", { a: "<&>" })).toBe("'<&>'");
});

it.each(["{{a}}", "{{{a}}}", "{{&a}}", "{{#if a}}{{a}}{{/if}}", "{{#each list}}{{this}}{{/each}}", "{{sh a a}}"])(
  "refuses %s, which would write a value unquoted",
  (text) => {
    expect(() => renderText(text, { a: "x", list: ["x"] })).toThrow(/templates\/test-\d+\.hbs:1: .* is not quoted/);
  },
);

it.each(["{{sh missing}}", "{{#if missing}}x{{/if}}", "{{#if a}}{{else}}{{sh missing}}{{/if}}"])(
  "refuses %s, which has no value",
  (text) => {
    expect(() => renderText(text, { a: "x" })).toThrow("no value for missing");
  },
);

it("refuses a missing property of a value", () => {
  expect(() => renderText("{{sh a.b}}", { a: {} })).toThrow();
});

it.each([[{ b: 1 }], [null]])("refuses %j, which is not text, a number or a boolean", (a) => {
  expect(() => renderText("{{sh a}}", { a })).toThrow("a template can write text, numbers and booleans");
});

it("refuses an unknown helper and an unknown partial", () => {
  expect(() => renderText("{{shell a}}", { a: "x" })).toThrow("{{shell}} is not quoted");
  expect(() => renderText("{{> nothing}}", {})).toThrow("nothing");
});

it("names the missing template", () => {
  expect(() => render("etc/no-such.hbs", {})).toThrow("etc/no-such.hbs");
});
