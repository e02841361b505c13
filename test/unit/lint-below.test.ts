import { belowByPath, programsBelowByPath } from "../../tools/lint/below";
import { root } from "../../tools/lint/checks";

const inShell = (line: string) => belowByPath("templates/usr/local/sbin/x", `#!/bin/bash\n${line}\n`);
const inPerl = (line: string) => belowByPath("templates/usr/local/lib/x.pm", `${line}\n`);

it.each([
  'rm -f -- "$source/$probe_name"',
  "if true; then rm -rf $TARGET/x; fi",
  'chown root "$lsyncd_target/file"',
  'x && chmod 600 "${target}"/x',
  'printf x >"$lsyncd_source/$probe_name"',
  'cat <"$target/x"',
  'ln -s a "$source/b"',
])("refuses in a shell program: %s", (line) => {
  expect(inShell(line)).toEqual([expect.stringContaining("x:2: goes below a volume by a path")]);
});

it.each([
  'unlink "$target/x"',
  "open my $file, '>', $source . '/x'",
  'chown 0, 0, "$TARGET/$name"',
  'chmod 0600, "${target}/$name"',
  'sysopen my $h, "$source/$name", O_RDONLY',
])("refuses in a Perl program: %s", (line) => {
  expect(inPerl(line)).toEqual([expect.stringContaining("x.pm:1: goes below a volume by a path")]);
});

it.each(['rsync -a "$source/" "$target/"', 'df -- "$source"', '# rm -rf "$target/x"', 'rm -f "$state/x"'])(
  "accepts: %s",
  (line) => {
    expect(inShell(line)).toEqual([]);
  },
);

it("no program of a host opens a file below a volume by its path", () => {
  expect(programsBelowByPath(root)).toBe("");
});
