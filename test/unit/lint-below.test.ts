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
  'path="$source/mail"; rm -rf "$path"',
  'local file=$target/x\n: >"$file"',
  'mark=${SOURCE}/x\nchown root "${mark}"',
  'cd "$target" && rm -rf x',
  'find "$target" -name x -delete',
  'find "$lsyncd_source" -type f -exec chmod 600 {} +',
  'rm -rf -- "${lsyncd_target:?}/x"',
  'timeout 5 rm "$target/x"',
  'rm -f \\\n  "$target/x"',
  'head -n 1 "$source/x"',
])("refuses in a shell program: %s", (line) => {
  expect(inShell(line)).toEqual([expect.stringMatching(/^\S+x:[23]: uses a path below a volume/)]);
});

it.each([
  'unlink "$target/x"',
  "open my $file, '>', $source . '/x'",
  'chown 0, 0, "$TARGET/$name"',
  'chmod 0600, "${target}/$name"',
  'sysopen my $h, "$source/$name", O_RDONLY',
  'my $path = "$target/x";\nunlink $path;',
  'my $path = $source . "/x";\nopen my $file, "<", "$path/y";',
  'unlink "$self->{target}/x";',
  "unlink $self->{target} . '/x';",
  "unlink setting('target') . '/x';",
  "unlink $settings->text('source') . '/x';",
  "unlink join '/', $target, 'x';",
  "chdir $target; unlink 'x';",
  "system 'rm', '-rf', \"$target/x\";",
  'unlink\n    "$target/x";',
  'my $out = `rm "$target/x"`;',
])("refuses in a Perl program: %s", (line) => {
  expect(inPerl(line)).toEqual([expect.stringMatching(/^\S+x\.pm:[12]: uses a path below a volume/)]);
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
