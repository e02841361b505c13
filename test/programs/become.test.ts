import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { passwordMissing, passwordRefused } from "../../infra/commands";
import { announcement, asRoot, lend } from "../../infra/commands/become";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "become-"));
});
const lenders: ChildProcess[] = [];
afterEach(() => {
  for (const child of lenders.splice(0)) child.stdin?.end();
  rmSync(folder, { recursive: true });
});

/**
 * sudo-rs 0.2.5 as Debian 13 has it, where it differs from sudo: it reads all of its input and not only a line, takes the end of its
 * input for a second and a third password, and has other messages. `pam` is 0 for a user who needs no password.
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

const user = "nobody";
// More than a pipe holds.
const text = `echo "$*"\nexit 7\n# ${"x".repeat(100_000)}\n`;

const environment = (pam: boolean) => ({
  ...process.env,
  PATH: `${folder}:${process.env.PATH ?? ""}`,
  FAKE_PAM: pam ? "1" : "0",
  FAKE_FOLDER: folder,
});

/** Runs a command as a host's login user does; `other` is a text that was not announced. */
function borrow(pam: boolean, other = text) {
  const { command, stdin } = asRoot({ name: "h1", user }, "name", other);
  const env = environment(pam);
  const { status, stdout } = spawnSync("bash", ["-c", command("a", "b")], { input: stdin, env, encoding: "utf8" });
  return { code: status, said: stdout };
}

/** Starts the program that passes on root's rights; `said` is its output until it is ready or has ended. */
async function lender(password: string, pam: boolean, announced = text) {
  const borrower = asRoot({ name: "h1", user }, "name", announced);
  const digests = [announcement(borrower.command("a", "b"), borrower.stdin) ?? "none"];
  const { command, stdin } = lend({ name: "h1", user }, password, digests);
  const child = spawn("bash", ["-c", command], { env: environment(pam) });
  lenders.push(child);
  child.stdin.write(stdin);
  let said = "";
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const ready = new Promise<void>((resolve) =>
    child.stdout.on("data", (data: Buffer) => {
      said += data.toString();
      if (/^ready$/m.test(said)) resolve();
    }),
  );
  const code = await Promise.race([ready, ended]);
  return {
    ...{ said: () => said, code },
    end: async () => {
      child.stdin.end();
      return ended;
    },
  };
}

async function become(password: string | undefined, pam: boolean) {
  writeFileSync(join(folder, "sudo"), sudoRs, { mode: 0o755 });
  const loan = password === undefined ? undefined : await lender(password, pam);
  const { code, said } = loan?.code === undefined ? borrow(pam) : { code: loan.code, said: loan.said() };
  await loan?.end();
  const tries = spawnSync("cat", [join(folder, "tries")], { encoding: "utf8" }).stdout.length;
  return { code, said, tries, asked: /^password asked: (.*)$/m.exec(loan?.said() ?? "")?.[1] };
}

describe("sudo-rs", () => {
  it("gets the password, and the script gets all input after it", async () => {
    expect(await become("s3cret", true)).toEqual({ code: 7, said: "a b\n", tries: 2, asked: "true" });
  });

  it("asks once when the password is wrong", async () => {
    const { code, said, tries } = await become("wrong", true);
    expect([code, tries]).toEqual([passwordRefused, 1]);
    expect(said).toMatch(/^sudo on h1 refuses the password for nobody\. It was tried once; /);
  });

  it("that asks for a password that is not set gives one clear line", async () => {
    const { code, said } = await become(undefined, true);
    expect(code).toBe(passwordMissing);
    expect(said).toMatch(/^sudo on h1 asks nobody for a password\. /);
  });

  it.each(["s3cret", undefined])(
    "that does not ask runs the script, with or without a password (%s)",
    async (password) => {
      const { code, said, tries } = await become(password, false);
      expect([code, tries]).toEqual([7, 0]);
      expect(said).toBe("a b\n");
    },
  );
});

describe("root's rights", () => {
  const left = () => readdirSync("/run/lsyncd-as-code").filter((name) => name.startsWith(`root-for-${user}.`));

  it("are limited to the announced commands of the run, even if another run serves the same user", async () => {
    writeFileSync(join(folder, "sudo"), sudoRs, { mode: 0o755 });
    const other = "echo other\n";
    const loans = [await lender("s3cret", true, other), await lender("s3cret", true)];
    expect(left()).toHaveLength(2);
    expect(borrow(true)).toEqual({ code: 7, said: "a b\n" });
    expect(borrow(true, other)).toEqual({ code: 0, said: "other\n" });
    const none = borrow(true, "echo none\n");
    expect(none).toEqual({ code: 1, said: "This run was not announced: name a b. Nothing was done.\n" });
    // The end of one run does not end the other.
    await loans[0]?.end();
    expect(borrow(true)).toEqual({ code: 7, said: "a b\n" });
    await loans[1]?.end();
    expect(left()).toEqual([]);
    expect(borrow(true).code).toBe(passwordMissing);
  });

  it("are passed on without the password or a digest in an argument or the environment", async () => {
    writeFileSync(join(folder, "sudo"), sudoRs, { mode: 0o755 });
    const loan = await lender("s3cret", true);
    const seen = readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        try {
          return [readFileSync(`/proc/${pid}/cmdline`, "latin1"), readFileSync(`/proc/${pid}/environ`, "latin1")];
        } catch {
          return [];
        }
      });
    await loan.end();
    expect(seen.some((line) => line.includes(`root-for-${user}`))).toBe(true);
    expect(seen.filter((line) => line.includes("s3cret"))).toEqual([]);
    expect(seen.filter((line) => line.includes(`root-for-${user}`) && /[0-9a-f]{64}/.test(line))).toEqual([]);
  });
});
