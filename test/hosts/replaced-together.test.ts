import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execOn } from "../../tools/sandbox";
import { libDirectory } from "../../infra/paths";
import { copyRepository } from "../support/clone";
import { on, prepare, succeeded, type Deployment } from "../support/deployment";

// Programs that call each other are replaced together: a reader during a deployment sees only one version of all of them.

jest.setTimeout(300_000);

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

/** Adds a line for this version to each Bash library and Perl module. */
async function mark(version: string): Promise<void> {
  const folder = join(copy, "templates", libDirectory);
  for (const name of await readdir(folder, { recursive: true })) {
    if (!/\.(sh|pm)$/.test(name)) continue;
    const path = join(folder, name);
    const text = (await readFile(path, "utf8")).replace(/^# version .*\n/m, "");
    // Before the end of a module: nothing may follow its return value.
    const at = text.lastIndexOf(name.endsWith(".pm") ? "1;" : "\n") + (name.endsWith(".pm") ? 0 : 1);
    await writeFile(path, `${text.slice(0, at)}# version ${version}\n${text.slice(at)}`);
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

it("no reader sees a mix of versions, and nothing of the old version is left", async () => {
  const stack = d.sameStack(copy);
  await mark("one");
  succeeded(await stack.up());
  await on(d.host, "rm -f /root/stop");
  const reading = execOn(d.host, "perl -", { input: reader, timeoutMs: 250_000 });
  await mark("two");
  succeeded(await stack.up());
  await on(d.host, "touch /root/stop");
  const { stdout, stderr } = await reading;
  expect(stdout.trim().split("\n")).toEqual(["one", "two"]);
  expect(Number(/(\d+) rounds/.exec(stderr)?.[1])).toBeGreaterThan(50);
  expect(await on(d.host, "ls -d /usr/local/lib/lsyncd-as-code*")).toBe(libDirectory);
  expect(await on(d.host, "systemctl is-active lsyncd")).toBe("active");
});
