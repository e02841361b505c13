import * as quote from "../../infra/quote";

// Whether each language reads these back as what they were is asked of the languages themselves: languages.test.ts.

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

  it("refuses what no word can hold", () => {
    expect(() => quote.sh("a\0b")).toThrow("NUL");
  });
});

describe("systemd", () => {
  it("doubles specifiers, and dollars only where systemd expands them", () => {
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
  it("takes quotes as they are, and refuses what would end the line", () => {
    expect(quote.msmtp(`pass"word`)).toBe(`"pass"word"`);
    expect(() => quote.msmtp("a\npassword x")).toThrow("control character");
  });
});

describe("comment", () => {
  it("never ends the line it stands in", () => {
    expect(quote.comment("a\nrm -rf /\r\u2028\u0085\x7f")).toBe("a\\nrm -rf /\\r???");
  });
});
