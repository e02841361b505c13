import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execOn } from "../../tools/sandbox";
import { libDirectory } from "../../infra/paths";
import { copyRepository } from "../support/clone";
import { failed, on, prepare, succeeded, type Deployment } from "../support/deployment";

// Programs that call each other are replaced together: one that starts during a deployment, or during its undo, has one version of
// all of them, and the settings of that version.

jest.setTimeout(400_000);

let d: Deployment;
let copy: string;
beforeAll(async () => {
  d = await prepare("together", { volumeSizeMb: 64 });
  copy = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  await copyRepository(copy, (file) => !file.startsWith("test/"));
});
afterAll(async () => {
  await d.remove();
  await rm(copy, { recursive: true, force: true });
});

/**
 * Makes the copy this version: each Bash library and Perl module says so, and a function, a setting and a limit that several
 * programs share have other names. A mix of two versions fails then.
 */
async function become(version: string): Promise<void> {
  const folder = join(copy, "templates");
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    let text = (await readFile(path, "utf8"))
      .replace(/^# version .*\n/m, "")
      .replace(/\b(read_settings|volume_state|accept_file|restart_limit)(?:_v[a-z]+)?\b/g, `$1_v${version}`)
      .replace(/\bSettings::read(?:_v[a-z]+)?\b/g, `Settings::read_v${version}`);
    if (entry.name === "Settings.pm") text = text.replace(/^sub read(?:_v[a-z]+)? /m, `sub read_v${version} `);
    if (/\.(sh|pm)$/.test(entry.name)) {
      // Before the end of a module: nothing may follow its return value.
      const at = text.lastIndexOf(entry.name.endsWith(".pm") ? "1;" : "\n") + (entry.name.endsWith(".pm") ? 0 : 1);
      text = `${text.slice(0, at)}# version ${version}\n${text.slice(at)}`;
    }
    await writeFile(path, text);
  }
}

// Reads all of them repeatedly, as a starting program does, from the folder that it found first.
const reader = `
  use strict; use warnings;
  my ($rounds, %seen) = (0);
  until (-e "/root/stop") {
    chdir "${libDirectory}" or next;
    my %round;
    for my $name (glob("*.sh LsyncdAsCode/*.pm")) {
      open my $file, "<", $name or do { $round{"no $name"} = 1; next };
      local $/;
      my ($version) = <$file> =~ /^# version (\\w+)$/m;
      $round{$version // "none"} = 1;
    }
    $rounds++;
    $seen{join "+", sort keys %round}++;
  }
  print "$_\\n" for sort keys %seen;
  print STDERR "$rounds rounds\\n";
`;

/** Calls a program again and again, with what its exit code and output must be; prints each answer that differs, then the number. */
const caller = (command: string, expected: string): string => `
  calls=0
  until [ -e /root/stop ]; do
    answer=$(${command} 2>&1; echo "exit $?")
    calls=$((calls + 1))
    case "$answer" in ${expected}) ;; *) printf '%s\\n' "$answer" ;; esac
  done
  echo "$calls calls" >&2`;

const callers: Record<string, string> = {
  "lsyncd-failover": caller("lsyncd-failover status", `"The mirror "*"is a mirror of "*"exit 1"`),
  "lsyncd-release": caller("lsyncd-release", `"lsyncd-release: Nothing is held back."*"exit 1"`),
  "lsyncd-undelete": caller("lsyncd-undelete list", `"exit 0"|"lsyncd-undelete: nothing is kept"*"exit 1"`),
  "lsyncd-wait": caller("lsyncd-wait --timeout 100", `"exit 0"`),
  // The call of `npm run status`. It rightly reports the errors that a failing deployment leaves in the logs.
  "lsyncd-monitor.sh": caller(
    "lsyncd-monitor.sh --status | grep -vaP '^(value|last)\\t|^check\\t(log|journal)\\tproblem\\t|^check\\t[a-z]+\\t(ok|held|skipped)\\t'; sleep 0.2",
    `"end"*"exit 0"`,
  ),
  guard: caller(`${libDirectory}/lsyncd-guard --running`, `"exit 0"`),
};

/** The versions and errors that the readers and callers have seen while \`during\` ran. */
async function seen(during: () => Promise<void>): Promise<{ versions: string[]; wrong: string }> {
  await on(d.host, "rm -f /root/stop");
  const reading = execOn(d.host, "perl -", { input: reader, timeoutMs: 350_000 });
  const calling = Object.values(callers).map((script) =>
    execOn(d.host, "bash -s", { input: script, timeoutMs: 350_000 }),
  );
  await during();
  await on(d.host, "touch /root/stop");
  const { stdout, stderr } = await reading;
  expect(Number(/(\d+) rounds/.exec(stderr)?.[1])).toBeGreaterThan(50);
  const answers = await Promise.all(calling);
  for (const answer of answers) expect(Number(/(\d+) calls/.exec(answer.stderr)?.[1])).toBeGreaterThan(0);
  return { versions: stdout.trim().split("\n"), wrong: answers.map((answer) => answer.stdout).join("") };
}

it("no program sees a mix of versions, and nothing of the old version is left", async () => {
  const stack = d.sameStack(copy);
  await become("one");
  succeeded(await stack.up());
  const found = await seen(async () => {
    await become("two");
    succeeded(await stack.up());
  });
  expect(found).toEqual({ versions: ["one", "two"], wrong: "" });
  expect(await on(d.host, "ls -d /usr/local/lib/lsyncd-as-code*")).toBe(libDirectory);
  expect(await on(d.host, `ls -d ${libDirectory}/settings 2>/dev/null; systemctl is-active lsyncd`)).toBe("active");
});

it("nor while a deployment that fails is undone", async () => {
  const stack = d.sameStack(copy);
  await become("three");
  await d.configure({ rsyncOptions: ["--delete", "--checksum-choice=nosuch"] });
  // lsyncd-wait reports rightly that this deployment mirrors nothing.
  delete callers["lsyncd-wait"];
  const found = await seen(async () => {
    expect(failed(await stack.up())).toContain("runs its previous deployment again");
  });
  expect(found).toEqual({ versions: ["three", "two"], wrong: "" });
  expect(
    await on(d.host, `ls -d ${libDirectory}* ${libDirectory}/settings 2>/dev/null; systemctl is-active lsyncd`),
  ).toBe(`${libDirectory}\nactive`);
});
