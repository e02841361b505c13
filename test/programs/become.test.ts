import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { passwordMissing, passwordRefused } from "../../infra/commands";
import { asRoot } from "../../infra/commands/become";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "become-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/**
 * What sudo-rs 0.2.5 of Debian 13 was seen to do, where sudo does otherwise: it reads what is there and not only a line, takes the
 * end of its input for a second and a third password, and has words of its own. `pam` is 0 for a user who need give none.
 */
const sudoRs = `#!/usr/bin/perl
use strict; use warnings;
my ($pam, $log) = ($ENV{FAKE_PAM}, "$ENV{FAKE_FOLDER}/tries");
my @words = @ARGV;
my %set;
while (@words && $words[0] =~ /^-/) { my $word = shift @words; last if $word eq "--"; $set{$word} = 1; shift @words if $word eq "-p" }
if ($set{"--version"}) { print STDERR "sudo-rs 0.2.5\\n"; exit 0 }
if ($pam) {
  if ($set{"-n"}) { print STDERR "sudo-rs: interactive authentication is required\\n"; exit 1 }
  for my $try (1 .. 3) {
    print STDERR "\\n";
    sysread STDIN, my $input, 4096;
    open my $tries, ">>", $log; print $tries "x"; close $tries;
    my ($line) = split /\\n/, $input // "", 2;
    last if ($line // "") eq "s3cret";
    if ($try == 3) { print STDERR "sudo-rs: Maximum 3 incorrect authentication attempts\\n"; exit 1 }
    print STDERR "sudo: Authentication failed, try again.\\n";
  }
}
exec @words;
`;

function become(password: string | undefined, pam: boolean) {
  writeFileSync(join(folder, "sudo"), sudoRs, { mode: 0o755 });
  const login = { name: "h1", user: "deploy", ...(password === undefined ? {} : { becomePassword: password }) };
  // Longer than what a pipe holds.
  const text = `echo "asked: $ASKED, $*"\nexit 7\n# ${"x".repeat(100_000)}\n`;
  const { command, stdin } = asRoot(login, "name", text);
  const env = {
    ...process.env,
    PATH: `${folder}:${process.env.PATH ?? ""}`,
    FAKE_PAM: pam ? "1" : "0",
    FAKE_FOLDER: folder,
  };
  const { status, stdout } = spawnSync("bash", ["-c", command("a b")], { input: stdin, env, encoding: "utf8" });
  const tries = spawnSync("cat", [join(folder, "tries")], { encoding: "utf8" }).stdout.length;
  return { code: status, said: stdout, tries };
}

describe("sudo-rs", () => {
  it("gets the password, and the script all that comes behind it", () => {
    expect(become("s3cret", true)).toEqual({ code: 7, said: "asked: true, a b\n", tries: 2 });
  });

  it("is asked once with a wrong one", () => {
    const { code, said, tries } = become("wrong", true);
    expect([code, tries]).toEqual([passwordRefused, 1]);
    expect(said).toMatch(/^sudo on h1 refuses the password for deploy\. It was tried once; /);
  });

  it("that asks, and nobody has told the password, is one clear line", () => {
    const { code, said } = become(undefined, true);
    expect(code).toBe(passwordMissing);
    expect(said).toMatch(/^sudo on h1 asks deploy for a password\. /);
  });

  it.each(["s3cret", undefined])("that does not ask runs the script, whatever is told (%s)", (password) => {
    const { code, said, tries } = become(password, false);
    expect([code, tries]).toEqual([7, 0]);
    expect(said).toMatch(/a b\n$/);
  });
});
