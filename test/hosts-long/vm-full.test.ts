import { quote } from "../../tools/sandbox";
import type { Finished } from "../../toolchain/run";
import { row } from "../support/faults";
import { testMs } from "../support/vm";
import { prepareLacking, source, target, type Lacking } from "../support/vm-lacking";

// Space, inodes or memory are used up in the middle of a deployment, or before it.

jest.setTimeout(testMs);

let on: Lacking;
beforeAll(async () => {
  on = await prepareLacking();
});
afterAll(async () => {
  await on.d.remove();
});

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

describe.each(shortages)("a deployment with %s", (injected, shortage) => {
  it.each(["before it", "in the middle of it"])(
    "%s: the host runs the old one or the new one, and nothing is lost",
    async (moment) => {
      const { use, free } = shortage();
      const { d, lasts, where } = on;
      const { sums, old } = await on.prepared();
      let up: Promise<Finished> | undefined;
      if (moment !== "before it") {
        up = d.stack.up();
        await new Promise((resolve) => setTimeout(resolve, lasts / 3));
      }
      await d.attempt(use);
      const outcome = await on.deployed(up ?? d.stack.up(), old).finally(() => d.attempt(free));
      await on.recovers(sums);
      await row({
        injected: `A deployment with ${injected}, from ${moment === "before it" ? "before its begin" : "the middle"} (${where})`,
        happened: `${outcome}; with enough of it again, the same deployment succeeded`,
        lost: 0,
      });
    },
  );
});

describe("a deployment without memory", () => {
  // Takes all memory but a little and keeps it: the page cache gives way. (In vm-memory the kernel ends processes.)
  const hog = `
import time
kept = []
def free():
    return int(next(l for l in open("/proc/meminfo") if l.startswith("MemAvailable")).split()[1])
end = time.time() + 60
while time.time() < end:
    if free() > 12000: kept.append(bytearray(b"x" * (2 << 20)))
    else: time.sleep(0.05)
`;

  it.each([0.1, 0.4, 0.7])(
    "after %s of it: the host runs the old one or the new one, and nothing is lost",
    async (part) => {
      const { d, lasts, where } = on;
      const { sums, old } = await on.prepared();
      const killed = "journalctl -b -k -o cat --no-pager | grep -c 'Killed process' || true";
      const kills = Number(await d.on(killed));
      const up = d.stack.up();
      await new Promise((resolve) => setTimeout(resolve, lasts * part));
      await d.on(
        `systemd-run -q --collect --unit=hog -p OOMScoreAdjust=-1000 -p MemoryMax=infinity python3 -c ${quote(hog)}`,
      );
      const outcome = await on.deployed(up, old);
      await d.until("the memory is free", async () => (await d.attempt("systemctl is-active -q hog")).code !== 0);
      const more = Number(await d.on(killed)) - kills;
      await on.recovers(sums);
      await row({
        injected: `A deployment when all memory is taken after ${String(part * 100)} % of it (${where}; the kernel ended ${String(more)} processes)`,
        happened: `${outcome}; with memory again, the same deployment succeeded`,
        lost: 0,
      });
    },
  );
});
