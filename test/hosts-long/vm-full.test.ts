import { paths } from "../../infra/paths";
import type { Finished } from "../../toolchain/run";
import { quote } from "../../tools/sandbox";
import { faultsOf, installed } from "../support/activation";
import { row } from "../support/faults";
import { prepareVm, testMs, type VmDeployment } from "../support/vm";

// A kernel of its own runs out of memory, space or inodes in the middle of a deployment, or before it.

jest.setTimeout(testMs);

const source = "/mnt/storage_do_1";
const target = "/mnt/storage_do_2";
let d: VmDeployment;
let where = "";
let delay = 1;
/** How long an undisturbed deployment takes, in milliseconds. */
let lasts = 0;

/** Small volumes, so that they are soon full: 100 MB and 500 inodes. */
async function small(mapper: string, mountpoint: string): Promise<void> {
  await d.on(`umount ${mountpoint}; mkfs.ext4 -q -F -m 0 -N 500 /dev/mapper/${mapper} 100M; mount ${mountpoint}`);
}

beforeAll(async () => {
  d = await prepareVm();
  where = `kernel ${await d.on("uname -r")}, ext4 on LUKS`;
  await small("nvme1n1", source);
  await small("nvme2n1", target);
  await d.on(`mkdir ${source}/mail && for i in $(seq 50); do echo "mail $i" >${source}/mail/$i; done`);
  await d.deploy();
  await d.identical();
  await change();
  const began = Date.now();
  expect((await d.stack.up()).code).toBe(0);
  lasts = Date.now() - began;
});
afterAll(async () => {
  await d.remove();
});

/** Sets another deployment than the one in force; files that lsyncd reads are among what it changes. */
async function change(): Promise<void> {
  delay += 1;
  await d.stack.configure([d.host], { requireEncryption: true, delay });
}

const mail = (volume: string): Promise<string> => d.on(`cd ${volume}/mail && cat $(ls | sort -n) | sha256sum`);
const delayNow = (): Promise<string> => d.on(`grep -o 'delay *= *[0-9]*' ${paths.configFile}`);

/** Commands that use up one thing, and give it back. */
interface Shortage {
  use: string;
  free: string;
}

const space = (folder: string): Shortage => ({
  use: `fallocate -l $(($(stat -f -c '%f * %S' ${folder}) * 99 / 100)) ${folder}/filler; head -c 500M /dev/zero >>${folder}/filler2; sync -f ${folder}`,
  free: `rm -f ${folder}/filler ${folder}/filler2`,
});

const inodes = (folder: string): Shortage => ({
  use: `mkdir -p ${folder}/many; perl -e 'for (my $i = 0; ; $i++) { open my $f, ">", "${folder}/many/$i" or last }'; sync -f ${folder}`,
  free: `rm -rf ${folder}/many`,
});

// Uses up a volume with files without names, which neither lsyncd nor rsync sees.
const unnamed = `
import os, sys, time
folder, what = sys.argv[1:]
held = []
def create():
    held.append(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    return held[-1]
try:
    if what == "space":
        volume = os.statvfs(folder)
        os.posix_fallocate(create(), 0, volume.f_bfree * volume.f_frsize * 99 // 100)
        rest = create()
        while True: os.write(rest, bytes(1 << 16))
    while True: create()
except OSError: pass
os.sync()
open("/run/full", "w").close()
time.sleep(3600)
`;

const volumeWithout = (what: "space" | "inodes", volume: string): Shortage => ({
  use: `systemd-run -q --collect --unit=unnamed -p LimitNOFILE=10000 python3 -c ${quote(unnamed)} ${volume} ${what} && until test -e /run/full; do sleep 0.2; done`,
  free: "systemctl stop unnamed; rm -f /run/full",
});

const shortages: [string, () => Shortage][] = [
  ["no space on the root disk", () => space("/root")],
  ["no inodes on the root disk", () => inodes("/root")],
  ["no space on the source", () => volumeWithout("space", source)],
  ["no inodes on the source", () => volumeWithout("inodes", source)],
  ["no space on the target", () => volumeWithout("space", target)],
  ["no inodes on the target", () => volumeWithout("inodes", target)],
];

/** Runs a deployment, and once it is over what it left: the old one or the new one, whole. */
async function deployed(up: Promise<Finished>, before: string, old: string): Promise<string> {
  const { code, stdout, stderr } = await up;
  await d.undone();
  const now = await installed(d.host);
  if (code === 0) {
    expect(await delayNow()).not.toBe(old);
    return "it succeeded";
  }
  expect(`${stdout}${stderr}`).toMatch(/Nothing was changed on sqlite-1|sqlite-1 runs its previous deployment again/);
  expect(now).toBe(before);
  expect(await delayNow()).toBe(old);
  return "it failed, and the host ran what it ran before";
}

/** With enough of everything again the same deployment succeeds, and nothing is lost. */
async function recovers(sums: string): Promise<void> {
  await d.until("the deployment succeeds", async () => {
    const { code, stdout } = await d.stack.up();
    if (code !== 0) process.stderr.write(stdout);
    return code === 0;
  });
  expect(await faultsOf(d.host)).toBe("");
  await d.mirrors();
  await d.identical();
  expect([await mail(source), await mail(target)]).toEqual([sums, sums]);
}

describe("a deployment without memory", () => {
  // Takes all memory until the kernel has ended three processes, and keeps it. It cannot be ended itself.
  const hog = `
import mmap, time
kept = []
def number(file, name):
    return int(next(l for l in open(file) if l.startswith(name)).split()[1])
before, end = number("/proc/vmstat", "oom_kill "), time.time() + 60
while time.time() < end:
    if number("/proc/vmstat", "oom_kill ") >= before + 3: time.sleep(0.05)
    else:
        plenty = number("/proc/meminfo", "MemAvailable:") > 200_000
        kept.append(mmap.mmap(-1, (64 if plenty else 4) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE))
`;

  it.each([0.1, 0.4, 0.7])(
    "after %s of it: the host runs the old one or the new one, and nothing is lost",
    async (part) => {
      const sums = await mail(source);
      await change();
      const [before, old] = [await installed(d.host), await delayNow()];
      const killed = "awk '/^oom_kill /{ print $2 }' /proc/vmstat";
      const kills = Number(await d.on(killed));
      const up = d.stack.up();
      await new Promise((resolve) => setTimeout(resolve, lasts * part));
      await d.on(
        `systemd-run -q --collect --unit=hog -p OOMScoreAdjust=-1000 -p MemoryMax=infinity python3 -c ${quote(hog)}`,
      );
      // The shells of the test may be among the processes that are ended.
      const finished = await up;
      await d.until(
        "the memory is free",
        async () => (await d.attempt("systemctl is-active hog")).stdout.trim() === "inactive",
      );
      const outcome = await deployed(Promise.resolve(finished), before, old);
      const more = Number(await d.on(killed)) - kills;
      expect(more).toBeGreaterThan(0);
      await recovers(sums);
      await row({
        injected: `A deployment when all memory is taken after ${String(part * 100)} % of it (${where})`,
        happened: `the kernel ended ${String(more)} processes; ${outcome}; with memory again, the same deployment succeeded`,
        lost: 0,
      });
    },
  );
});

describe.each(shortages)("a deployment with %s", (injected, shortage) => {
  it.each(["before it", "in the middle of it"])(
    "%s: the host runs the old one or the new one, and nothing is lost",
    async (moment) => {
      const { use, free } = shortage();
      const sums = await mail(source);
      await change();
      const [before, old] = [await installed(d.host), await delayNow()];
      let up: Promise<Finished> | undefined;
      if (moment !== "before it") {
        up = d.stack.up();
        await new Promise((resolve) => setTimeout(resolve, lasts / 3));
      }
      await d.attempt(use);
      const outcome = await deployed(up ?? d.stack.up(), before, old).finally(() => d.attempt(free));
      await recovers(sums);
      await row({
        injected: `A deployment with ${injected}, from ${moment === "before it" ? "before its begin" : "the middle"} (${where})`,
        happened: `${outcome}; with enough of it again, the same deployment succeeded`,
        lost: 0,
      });
    },
  );
});
