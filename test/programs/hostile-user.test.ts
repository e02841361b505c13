import { join } from "node:path";
import { defaults } from "../../infra/config";
import { run } from "../../toolchain/run";
import { PretendedVolumes } from "../support/failover";
import { library } from "../support/host-settings";
import { asUser, outsideOf, underAttack, underTheft } from "../support/hostile";
import { installTime, needPrograms } from "../support/programs";

// An unprivileged user who owns every entry of both volumes, and swaps them in a loop while root works there. Nothing
// outside of the volumes changes, and nothing that only root may read gets into one. Seconds here; a minute each on a
// host with all its programs: npm run test:long -- --testPathPatterns hostile-user.

jest.setTimeout(120_000);

/** For how long each program is attacked, in milliseconds. */
const time = Number(process.env.SECONDS ?? 3) * 1000;

let host: PretendedVolumes;

beforeAll(() => needPrograms("rsync"), installTime);
beforeEach(async () => {
  host = await PretendedVolumes.make();
  await host.shell(`chmod 755 .; mkdir outside source/mail
    for n in secret 1 2 3 4 5; do echo "root only $n" >outside/$n; echo "mail $n" >source/mail/$n; done
    echo x >source/top; echo y >source/mail/data.sqlite; cp -a source/. target/; chmod 600 outside/*; chown -R 65534:65534 source target`);
});
afterEach(() => host.remove());

/** Repeats an action under attack, and checks that the attacker gained nothing. */
async function attacked(work: () => Promise<unknown>): Promise<void> {
  const before = await outsideOf(host.at("outside"));
  const swaps = await underAttack(host.at("outside"), [host.at("source"), host.at("target")], async () => {
    const end = Date.now() + time;
    while (Date.now() < end) await work();
  });
  expect(swaps).toBeGreaterThan(100);
  expect(await outsideOf(host.at("outside"))).toBe(before);
  const leaked = await run("grep", ["-rl", "--devices=skip", "root only", host.at("source"), host.at("target")], {
    allowFailure: true,
  });
  // -r follows no links, so every hit is a file of a volume.
  expect(leaked.stdout).toBe("");
}

const file = (how: string, side: string, name: string, input = "") =>
  run("timeout", ["5", join(library, "volume-file"), how, host.at(side), name], { input, allowFailure: true });

it("the attack works: it reaches outside through a program that uses paths", async () => {
  const before = await outsideOf(host.at("outside"));
  await underAttack(host.at("outside"), [host.at("source")], async () => {
    const end = Date.now() + time;
    while (Date.now() < end)
      await host.shell(
        `for i in $(seq 50); do timeout 1 bash -c 'echo probe >source/.lsyncd-monitor-probe' || true; done`,
      );
  });
  expect(await outsideOf(host.at("outside"))).not.toBe(before);
});

it("volume-file makes, reads and removes a probe", async () => {
  const ends = new Set<number>();
  await attacked(async () => {
    for (const side of ["source", "target"]) {
      ends.add((await file("make", side, ".lsyncd-monitor-probe", "token\n")).code);
      ends.add((await file("make", side, "mail/1", "token\n")).code);
      for (const name of [".lsyncd-monitor-probe", "mail/1", "mail/secret"]) {
        const { code, stdout } = await file("read", side, name);
        ends.add(code);
        expect(stdout).not.toContain("root only");
      }
      ends.add((await file("remove", side, ".lsyncd-monitor-probe")).code);
    }
  });
  // It does not wait for anything (124 is timeout's).
  expect([...ends].sort()).toEqual(expect.arrayContaining([0]));
  expect(ends).not.toContain(124);
});

it("lsyncd-failover copies the mirror back to the source", async () => {
  await host.failover(["begin"]);
  let begun = false;
  await attacked(async () => {
    await host.failover(["end", "--keep", "target"], ["timeout", "20"]);
    begun ||= (await host.records()).root !== "in-use";
    if ((await host.records()).root === "mirroring") await host.failover(["begin"]);
  });
  expect(begun).toBe(true);
});

it.each([
  ["with the default options", ["-lptgosWD"]],
  ["in place", ["-lptgosD", "--no-whole-file"]],
])("rsync's own passes, %s as the wrapper hands them on", async (how, archive) => {
  const given = [...archive, ...defaults.rsyncOptions, "-r"];
  const script = `use LsyncdAsCode::Pass; my %pass = LsyncdAsCode::Pass::for_rsync(@ARGV); print join ' ', @{ $pass{arguments} }`;
  const { stdout: options } = await run("perl", ["-I", library, "-e", script, "--", ...given]);
  expect(options.includes("--inplace")).toBe(how === "in place");
  // Many, and never equal, so that rsync is at work on one of them whenever a directory is swapped.
  await host.shell(`for n in $(seq 300); do echo "root only $n" >outside/$n; echo "mail $n" >source/mail/$n; done
    chmod 600 outside/*; chown -R 65534:65534 source`);
  await attacked(() =>
    host.shell(
      `rm -rf target/mail || true; timeout 5 ${library}/volume-rsync ${options} source/ target/ >/dev/null 2>&1 || true`,
    ),
  );
});

// rsync makes a file as root, in a directory of the user's, and sets its owner and mode by its name.
it.each([
  ["rsync alone, to compare: a program with root's rights", "rsync -lptgosWD --no-perms -r --modify-window=-1", true],
  ["a pass", `${library}/volume-rsync -lptgosWD --no-perms -r --modify-window=-1`, false],
  ["a pass that mirrors modes", `${library}/volume-rsync -lptgosWD -r --modify-window=-1`, false],
  ["a restore", `${library}/volume-rsync --archive --acls --xattrs --modify-window=-1`, false],
])("a user who exchanges what rsync has just made gains: %s", async (_, rsync, gains) => {
  // A file of root's that the user has moved into its directory, such as the monitor's probe, has root's group.
  await host.shell(`for side in source target; do mkdir $side/m; cp /bin/true $side/m/evil; chown -R 65534:65534 $side/m; done
    ${gains ? "" : "chown 0:0 source/m/evil"}`);
  let gained = "";
  const stolen = await underTheft(host.at("target/m"), async () => {
    const end = Date.now() + (gains ? 60_000 : time);
    while (Date.now() < end && !(gains && gained)) {
      await host.shell(`mode=$((RANDOM % 2 ? 2755 : 4755)); echo $RANDOM >>source/m/evil; chmod $mode source/m/evil
        mode=$mode ${asUser} bash -c 'rm -f target/m/evil target/m/.decoy; echo >target/m/.decoy
          echo >target/m/evil; chmod $mode target/m/evil; chmod 600 target/m/.decoy'
        timeout 5 ${rsync} --exclude=.decoy source/m/ target/m/ >/dev/null 2>&1 || true`);
      gained += await host.shell("find target \\( -uid 0 -perm -4000 -o -gid 0 -perm -2000 \\) -ls");
    }
  });
  expect(stolen).toBeGreaterThan(0);
  expect(gained !== "").toBe(gains);
});
