import * as quote from "../../infra/quote";

// languages.test.ts checks that each language reads these back unchanged.

describe("lua", () => {
  it.each([
    ["/mnt/storage_do_1", `"/mnt/storage_do_1"`],
    [`say "hi"`, `"say \\"hi\\""`],
    ["back\\slash", `"back\\\\slash"`],
    ["two\nlines", `"two\\010lines"`],
    ["1\x001", `"1\\0001"`],
    [5, "5"],
    [false, "false"],
    ["5", `"5"`],
  ])("writes %j as %s", (value, literal) => {
    expect(quote.lua(value)).toBe(literal);
  });
});

describe("sh", () => {
  it.each([
    ["/mnt/storage_do_1", "/mnt/storage_do_1"],
    ["", "''"],
    ["two words", "'two words'"],
    ["it's", `'it'\\''s'`],
    ["$(reboot)", "'$(reboot)'"],
    ["~", "'~'"],
    ["a\nb", "'a\nb'"],
    [5, "5"],
    [true, "true"],
  ])("writes %j as %s", (value, word) => {
    expect(quote.sh(value)).toBe(word);
  });

  it("refuses a value that a word cannot hold", () => {
    expect(() => quote.sh("a\0b")).toThrow("NUL");
  });
});

describe("systemd", () => {
  it("doubles specifiers, and dollar signs only where systemd expands them", () => {
    expect(quote.systemdWord("100 % of $HOME")).toBe(`"100 %% of $HOME"`);
    expect(quote.systemdArg("100 % of $HOME")).toBe(`"100 %% of $$HOME"`);
    expect(quote.systemdArg(`say "hi" \\`)).toBe(`"say \\"hi\\" \\\\"`);
  });

  it("refuses control characters, which end a line of a unit file", () => {
    expect(() => quote.systemdWord("a\nExecStart=/bin/sh")).toThrow("control character");
    expect(() => quote.systemdArg("a\nExecStart=/bin/sh")).toThrow("control character");
  });

  it.each([
    ["/", "-.mount"],
    ["/mnt/storage_do_1", "mnt-storage_do_1.mount"],
    ["/mnt//storage/", "mnt-storage.mount"],
    ["/mnt/a-b", "mnt-a\\x2db.mount"],
    ["/.hidden/.x", "\\x2ehidden-.x.mount"],
    ["/mnt/50%", "mnt-50\\x25.mount"],
    ["/mnt/é", "mnt-\\xc3\\xa9.mount"],
  ])("names the mount unit of %s", (path, unit) => {
    expect(quote.mountUnit(path)).toBe(unit);
  });
});

describe("msmtp", () => {
  it("writes quotes unchanged, and refuses characters that end the line", () => {
    expect(quote.msmtp(`pass"word`)).toBe(`"pass"word"`);
    expect(() => quote.msmtp("a\npassword x")).toThrow("control character");
  });
});

describe("comment", () => {
  it("stays on its line", () => {
    expect(quote.comment("a\nrm -rf /\r\u2028\u0085\x7f")).toBe("a\\nrm -rf /\\r???");
  });
});
