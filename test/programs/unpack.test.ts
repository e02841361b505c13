import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { bundle, partsOf, scriptOf, unpacked, unpacking } from "../../infra/commands/bundle";

const run = (command: string, input: string) => spawnSync("sh", ["-c", command], { input, maxBuffer: 1 << 26 });

const files = fc.dictionary(
  fc.stringMatching(/^\/[a-z.]{1,8}$/),
  fc.oneof(
    fc.string({ unit: "binary" }).map((text) => text.replaceAll(/[\0\ud800-\udfff]/g, "")),
    fc.constantFrom(`'"\\n\\u0022\n\\\n`, "\r\n\t\x01\x7f", "$(id) `id` ${x} %s !", "日本 🦊\n\n"),
  ),
);

describe("a bundle", () => {
  it("is unpacked into the original script, with every byte of its files", () => {
    fc.assert(
      fc.property(files, (texts) => {
        const parts = {
          settings: "declare -A content=()\n",
          ...texts,
          program: 'printf "%s\\0" "$@" "${content[@]}"\n',
        };
        const stdin = bundle(parts);
        expect(partsOf(stdin)).toEqual(parts);
        expect(run(unpacking("cat"), stdin).stdout.toString()).toBe(scriptOf(parts));
        const { stdout, status } = run(unpacking(`bash -c 'eval "$(cat)"' x install`), stdin);
        expect(status).toBe(0);
        expect(stdout.toString().split("\0").slice(0, -1).toSorted()).toEqual(
          ["install", ...Object.values(texts)].toSorted(),
        );
      }),
      { numRuns: 60 },
    );
  });

  it("that is truncated runs nothing and fails", () => {
    const stdin = bundle({ program: "echo '}'; echo did\n", "/x": '"}' });
    for (let length = 0; length < stdin.length; length += 1) {
      const { status, stdout } = run(unpacking("sh"), stdin.slice(0, length));
      expect(stdout.toString()).toBe("");
      expect(status).not.toBe(0);
    }
    expect(run(unpacking("sh -c 'cat >/dev/null; exit 3'"), stdin).status).toBe(3);
  });

  it("is not built from values that a host could not read", () => {
    expect(() => bundle({ program: "a\0b" })).toThrow("NUL");
    expect(() => bundle({ 'a"b': "" })).toThrow("is not a valid part name");
    expect(partsOf("HOST=x\n")).toBeUndefined();
    expect(unpacked("bash -s")).toBeUndefined();
    expect(unpacked(unpacking("bash -s"))).toBe("bash -s");
  });
});
