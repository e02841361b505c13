import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { refusedRsyncOptions, supportedRsyncOptions } from "../../infra/rsync-options";
import { rsyncOptions } from "../../infra/schema";
import { installTime, needPrograms } from "../support/programs";

function messages(options: unknown): string[] {
  const result = rsyncOptions.safeParse(options);
  return result.success ? [] : result.error.issues.map(({ message }) => message);
}

/** A value for each option that needs one. */
const values: Record<string, string> = {
  "--block-size=": "4096",
  "--bwlimit=": "100M",
  "--checksum-choice=": "md5",
  "--checksum-seed=": "7",
  "--max-alloc=": "512M",
  "--temp-dir=": tmpdir(),
  "--timeout=": "60",
};
const supported = supportedRsyncOptions.map((name) => name + (values[name] ?? ""));

describe("an option that would break the mirror", () => {
  it.each(refusedRsyncOptions)("%s is refused with its name and its effect, with and without a value", (name) => {
    for (const option of [name, `${name}=/x`])
      expect(messages(["--delete", option])).toEqual([
        expect.stringMatching(new RegExp(`^${name} is not supported: .{10,}`)),
      ]);
  });

  it.each([
    // Without it, rsync-wrapper could not count deletions.
    ...["--quiet", "--out-format=", "--stderr=all", "--msgs2stderr", "--info=none"],
    // rsync knows them, nobody here does.
    ...[
      "--no-d",
      "--no-r",
      "--no-t",
      "--i-d",
      "--old-dirs",
      "--no-i-d",
      "--zc=zstd",
      "--inc-recursive",
      "--8-bit-output",
    ],
    // rsync's parser accepts no abbreviations; if it did, they must not get past this check either.
    ...["--remove-s", "--remove-source-file", "--dry", "--rs=ssh", "--existi"],
    ...["--constructor", "--toString", "--__proto__"],
  ])("%s is refused with its name", (option) => {
    expect(messages([option])).toEqual([expect.stringContaining(option.split("=")[0] ?? "")]);
  });

  it.each([
    ...["-n", "-e", "-essh", "-avn", "-b", "--", "-", "", "delete", "--delete --dry-run", "--delete\n--dry-run"],
    ...["--bwlimit 5", "--x\0", " --delete", "--delete ", "--­delete"],
  ])("%j is refused, because it is not a long option", (option) => {
    expect(messages([option])).toEqual([
      `must be one long option of rsync such as --bwlimit=10M, not ${JSON.stringify(option)}`,
    ]);
  });

  it.each([[5], [null], [["--delete"]], [{ "--delete": true }]])("%j is refused, because it is not text", (option) => {
    expect(messages([option])).toEqual(["must be one long option of rsync such as --bwlimit=10M"]);
  });
});

describe("a permitted option", () => {
  it.each(supported)("%s is accepted by itself", (option) => {
    expect(messages([option])).toEqual([]);
  });

  it.each(supported.filter((option) => option.includes("=")))("%s is refused without its value", (option) => {
    const name = option.replace(/=.*/, "");
    // rsync would take the next word, such as the source, as the value.
    expect(messages([name])).toEqual([`${name} needs its value in the same text: ${name}=…`]);
    for (const value of ["", "\n", "-1", "a\nb", "\ud800", "../x", "$(id)"])
      expect(messages([`${name}=${value}`])).toEqual([`${name} cannot be ${JSON.stringify(value)}`]);
  });

  it.each(supported.filter((option) => !option.includes("=")))("%s is refused with a value", (option) => {
    expect(messages([`${option}=1`])).toEqual([`${option} takes no value`]);
  });

  it.each([
    [["--inplace", "--inplace"], "--inplace is set twice"],
    [["--bwlimit=1M", "--bwlimit=2M"], "--bwlimit is set twice"],
    [["--delete-before", "--delete-after"], "only one of --delete-before, --delete-after can be set"],
  ])("is not looked for in %j", (options, message) => {
    expect(messages(options)).toEqual([message]);
  });

  it("may be omitted; the setting must be a list", () => {
    expect(messages([])).toEqual([]);
    expect(messages("--delete")).toEqual(["must be a list of rsync options"]);
  });
});

describe("rsync itself", () => {
  beforeAll(() => needPrograms("rsync"), installTime);

  /** Names, kinds, contents, times and links of a tree. */
  const tree = (folder: string): string[] =>
    (readdirSync(folder, { recursive: true }) as string[]).sort().map((name) => {
      const path = join(folder, name);
      const status = lstatSync(path);
      // The times of links are not kept on every file system.
      const text = status.isFile() ? `${status.mtimeMs} ${readFileSync(path, "utf8")}` : "";
      return `${name} ${status.mode.toString(8)} ${status.isSymbolicLink() ? readlinkSync(path) : text}`;
    });

  it.each(supported)("makes an exact mirror with %s", (option) => {
    const folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-rsync-"));
    try {
      const [source, target] = [join(folder, "source"), join(folder, "target")];
      for (const path of [source, target, join(source, "d"), join(target, "gone")]) mkdirSync(path);
      writeFileSync(join(source, "d", "kept"), "new");
      writeFileSync(join(source, "empty"), "");
      symlinkSync("d/kept", join(source, "link"));
      for (const name of ["gone/file", "stale"]) writeFileSync(join(target, name), "old");
      // As lsyncd calls it: what it sets itself comes first.
      const run = (): unknown =>
        execFileSync("rsync", ["--delete", "--force", "-lptgoD", option, "-r", `${source}/`, `${target}/`]);
      run();
      expect(tree(target)).toEqual(tree(source));
      // A rewrite of another size, a file in a directory's place, and a deletion.
      rmSync(join(source, "d"), { recursive: true });
      writeFileSync(join(source, "d"), "now a file");
      writeFileSync(join(source, "empty"), "no more");
      rmSync(join(source, "link"));
      run();
      expect(tree(target)).toEqual(tree(source));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
