import { join } from "node:path";
import * as fc from "fast-check";
import { renderFiles } from "../../infra/files";
import { libDirectory, paths } from "../../infra/paths";
import { conf } from "../../infra/quote";
import { run } from "../../toolchain/run";
import { admittedHost, assertBatch } from "../unit/support/arbitraries";
import { withFiles } from "../unit/support/languages";

const library = join(__dirname, "../../templates", libDirectory);

interface Read {
  code: number;
  values: string[];
  stderr: string;
}

/** Reads settings from a file `test.conf` with this text; prints each with a NUL after it. */
type Reader = (text: string, settings: string[]) => Promise<Read>;

const readBy =
  (program: string, script: string, argument: (setting: string) => string): Reader =>
  (text, settings) =>
    withFiles({ "test.conf": text, script }, async (folder) => {
      const { code, stdout, stderr } = await run(program, [join(folder, "script"), ...settings.map(argument)], {
        env: { ...process.env, LSYNCD_SETTINGS: folder, LIBRARY: library },
        allowFailure: true,
      });
      return { code, values: stdout.split("\0").slice(0, -1), stderr: stderr.replaceAll(folder, "") };
    });

const perl = readBy(
  "perl",
  `use strict; use warnings; use lib $ENV{LIBRARY}; use LsyncdAsCode::Settings;
my $settings = LsyncdAsCode::Settings::read('test');
for (@ARGV) { my ($kind, $name) = split /:/; print "$_\\0" for $settings->$kind($name) }
`,
  (setting) => {
    const [name = "", kind] = setting.split(/:|(?=\[)/);
    return `${kind === "[]" ? "list" : (kind ?? "text")}:${name}`;
  },
);

const bash = readBy(
  "bash",
  `source "$LIBRARY/settings.sh"
read_settings test "$@"
for setting; do
  declare -n value=\${setting%%[:[]*}
  for one in "\${value[@]}"; do printf '%s\\0' "$one"; done
  declare +n value
done
`,
  (setting) => setting,
);

describe.each([
  ["Settings.pm", perl],
  ["settings.sh", bash],
] as const)("%s", (_, read) => {
  it("reads back any value", async () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc
        .array(fc.constantFrom("'", '"', "\\", "\\x41", "\\101", "\n", "\r", "%b", "$(id)", "`", "é", "", " ", "#"))
        .map((parts) => parts.join("")),
    );
    const admitted = text.map((value) => value.replaceAll("\0", "")).filter((value) => value.isWellFormed());
    await assertBatch(admitted, async (values) => {
      const lines = values.map((value, index) => `name_${String(index)} = ${conf(value)}\n`);
      const names = values.map((__, index) => `name_${String(index)}`);
      expect(await read(lines.join(""), names)).toEqual({ code: 0, values, stderr: "" });
    });
  });

  it("reads a list in order, an empty list as empty, and numbers and booleans", async () => {
    const text = '# a comment\n\na = "2"\nb = "x y"\nb = ""\nc = "true"\n';
    const { code, values } = await read(text, ["b[]", "none[]", "a:number"]);
    expect([code, values]).toEqual([0, ["x y", "", "2"]]);
    expect((await read(text, ["c:flag"])).code).toBe(0);
  });

  it.each([
    ['a = "1"\nb = 2\n', "a", "/test.conf:2: not a setting"],
    ['a = "1"\n b = "2"\n', "a", "/test.conf:2: not a setting"],
    ['a = "1" # comment\n', "a", "/test.conf:1: not a setting"],
    ['a = "x"y"\n', "a", "/test.conf:1: not a setting"],
    ['a = "\\n"\n', "a", "/test.conf:1: not a setting"],
    ['a = "\t"\n', "a", "/test.conf:1: not a setting"],
    ['b = "1"\n', "a", "/test.conf: the setting a is missing"],
    ['a = "1"\n\na = "2"\n', "a", "/test.conf:3: the setting a is set twice"],
    ['\na = "many"\n', "a:number", "/test.conf:2: the setting a is not a number: many"],
    ['a = "-1"\n', "a:number", "/test.conf:1: the setting a is not a number: -1"],
    ['a = "yes"\n', "a:flag", "/test.conf:1: the setting a is neither true nor false: yes"],
  ])("refuses %j and names its line", async (text, setting, message) => {
    const { code, values, stderr } = await read(text, [setting]);
    expect([code === 0, values]).toEqual([false, []]);
    expect(stderr).toContain(message);
  });

  it("refuses a truncated or missing file", async () => {
    expect((await read('a = "1"\nb = "2', ["a"])).stderr).toContain("/test.conf:2: ");
    expect((await read("", ["a"])).stderr).toContain("the setting a is missing");
    const env = { ...process.env, LSYNCD_SETTINGS: "/nowhere", LIBRARY: library };
    const missing = await run("bash", ["-c", `source "$LIBRARY/settings.sh"; read_settings mirror a`], {
      env,
      allowFailure: true,
    });
    expect([missing.code, missing.stderr]).toEqual([78, "bash: cannot read the settings /nowhere/mirror.conf\n"]);
  });
});

it("mirror.conf: both readers read the settings of any host", async () => {
  await assertBatch(admittedHost, async (hosts) => {
    for (const host of hosts.slice(0, 5)) {
      const text = renderFiles(host).find(({ path }) => path === "/etc/lsyncd/mirror.conf")?.content ?? "";
      const names = ["source", "target", "sqlite_pattern[]", "sqlite_lock_seconds", "state_directory"];
      const expected = [host.source, host.target, ...host.sqlitePatterns, String(host.sqliteLockSeconds)];
      for (const read of [perl, bash]) {
        expect((await read(text, names)).values).toEqual([...expected, paths.stateDirectory]);
      }
    }
  });
}, 120_000);
