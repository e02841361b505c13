import { commentFindings, commentsOf, habitsIn, messagesOf, proseOfPage, titlesOf } from "../../tools/lint/prose";

const words = (text: string) => habitsIn("page", text).map((line) => line.replace(/: write .*/, ""));

it.each([
  ["Every error is told once.", ['page:1: "told"']],
  ["Fine.\n\nMend it.", ['page:3: "Mend"']],
  ["What is not set is taken from the stack.", ['page:1: "What is not set is taken from the stack."']],
  ["It reports errors. What else is held: see below.", ['page:1: "What else is held: see below."']],
  ["What does it do?", []],
  ["See troubleshooting, and the intellect of metals.", []],
])("%j: the linter finds each fault with its line", (text, found) => {
  expect(words(text)).toEqual(found);
});

it("code, comments and test names in a page are ignored, and line numbers stay right", () => {
  const page = "`told`\n```sh\necho told\n```\n<!-- tell -->\n“tells of it”\nIt is told.";
  expect(words(proseOfPage(page))).toEqual(['page:7: "told"']);
});

it("in a program, only comments are checked", () => {
  const source = "#!/bin/bash\n# It tells.\ntold=1\n/** Told. */\n * wish\n// twin\n";
  expect(words(commentsOf(source))).toEqual(['page:2: "tells"', 'page:4: "Told"', 'page:6: "twin"', 'page:5: "wish"']);
});

it("in a TypeScript program, messages are checked, and keys and code are not", () => {
  const source =
    'const told = { trouble: "told" };\n// told\nfail(`${told} was told so`);\nsay("See docs/troubleshooting.md", "It was told");\n';
  expect(words(messagesOf(source))).toEqual(['page:3: "told"', 'page:4: "told"']);
});

it("in a test, titles are checked, and its code is not", () => {
  const source =
    'it("is told", () => {\n  expect(told).toBe("told so");\n  it.each([\n])("tells %s", f);\ndescribe.each(told)("a wish", f);\n';
  expect(words(titlesOf(source))).toEqual(['page:1: "told"', 'page:4: "tells"', 'page:5: "wish"']);
});

it.each(["What came of the run", "Nobody asked for it", "It is in the way of others"])("finds %j", (text) => {
  expect(words(text)).toHaveLength(1);
});

it("finds a comment that opens with its object, and no question", () => {
  const source = "/** What it prints. */\n# What is it?\n  // What differs\nWhat x\n# It prints what it finds.\n";
  const lines = commentFindings("page", source).map((line) => line.split(": ")[0]);
  expect(lines).toEqual(["page:1", "page:3"]);
});
