import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execOn } from "../../tools/sandbox";
import { libDirectory } from "../../infra/paths";
import { copyRepository } from "../support/clone";
import { on, prepare, succeeded, type Deployment } from "../support/deployment";

// Programs that call each other are replaced together: whoever reads them during a deployment meets all of one version.

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

/** Gives each library of Bash and each module of Perl a line of its own for this version. */
async function mark(version: string): Promise<void> {
  const folder = join(copy, "templates", libDirectory);
  for (const name of await readdir(folder, { recursive: true })) {
    if (!/\.(sh|pm)$/.test(name)) continue;
    const path = join(folder, name);
    const text = (await readFile(path, "utf8")).replace(/^# version .*\n/m, "");
    // Before the end of a module: nothing may follow what it returns.
    const at = text.lastIndexOf(name.endsWith(".pm") ? "1;" : "\n") + (name.endsWith(".pm") ? 0 : 1);
    await writeFile(path, `${text.slice(0, at)}# version ${version}\n${text.slice(at)}`);
  }
}

// Reads all of them again and again, as a program that starts does, from the folder that it found at first.
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

it("no reader meets half of a new version, and nothing of the old one is left", async () => {
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
