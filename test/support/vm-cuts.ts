import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execOn } from "../../tools/sandbox";
import { lossModes, seeded, type LossMode } from "../../tools/sandbox/vm/disk";
import { bootVm, unlock } from "../../tools/sandbox/vm/host";
import { cutPower } from "../../tools/sandbox/vm/process";
import { vmVolumes, type FileSystem } from "../../tools/sandbox/vm/types";
import { row } from "./faults";
import { cutVolumes, openVolumes, prepareVm, testMs, type VmDeployment } from "./vm";

// Power cuts while databases and ordinary files are written and mirrored. One in four takes the whole machine, which boots again. The
// others take both data disks: what they had not flushed is lost as the mode says, nothing more gets there, and the kernel has to
// forget all of them before they come back. lsyncd is killed with them, and /run is as after a boot. Writes that the
// root disk has not flushed are lost in the first kind alone.

/** The verdict of vm-load.py on a mirror. */
interface Look {
  databases: number;
  broken: string[];
  files: number;
  foreign: string[];
}

/** The results of the cuts of one loss mode. */
interface Tally {
  machine: number;
  disks: number;
  databases: number;
  files: number;
  foreign: number;
}

const load = "/root/vm-load.py";
const source = "/mnt/storage_do_1";

/** The number of cuts on each file system, and the seed of the first one. */
const cuts = Number(process.env.VM_CUTS ?? 30);
const firstSeed = Number(process.env.VM_SEED ?? Date.now() % 1_000_000);

/** Cuts the power of a busy virtual machine, and checks its mirror each time. */
export function testCuts({ fileSystem }: { fileSystem: FileSystem }): void {
  jest.setTimeout(Math.max(testMs, cuts * 10 * 60_000));

  let d: VmDeployment;
  let kernel = "";
  const tallies = new Map<LossMode, Tally>();

  beforeAll(async () => {
    d = await prepareVm({ fileSystem });
    kernel = await d.on("uname -r");
    await execOn(d.host, `cat >${load}`, { input: readFileSync(join(__dirname, "vm-load.py"), "utf8") });
    await d.on(`python3 ${load} fill 1 ${source} 100`);
    await d.deploy();
    await d.identical();
  });
  afterAll(async () => {
    await d.remove();
  });

  /** Checks the volumes before lsyncd can start. */
  async function look(): Promise<Look> {
    const mounts = Object.values(vmVolumes).map(
      ({ mapper }) => `mkdir -p /srv/${mapper} && mount -o ro /dev/mapper/${mapper} /srv/${mapper}`,
    );
    const text = await d.on(
      [
        "set -e",
        ...mounts,
        `python3 ${load} check /srv/${vmVolumes.source.mapper} /srv/${vmVolumes.target.mapper}`,
        ...Object.values(vmVolumes).map(({ mapper }) => `umount /srv/${mapper}`),
      ].join("\n"),
    );
    return JSON.parse(text) as Look;
  }

  /** One cut, 5 to 30 s into the load, or after a pass over 300 new files. */
  async function round(number: number): Promise<void> {
    const seed = firstSeed + number;
    const chance = seeded(seed);
    const mode = lossModes[number % lossModes.length] ?? "drop";
    const machine = number % 4 === 3;
    const afterPass = number % 2 === 1;
    const said = `cut ${String(number + 1)} of ${String(cuts)} (seed ${String(seed)}, ${mode}, ${machine ? "machine" : "disks"}${afterPass ? ", after a full pass" : ""})`;
    if (afterPass) {
      await d.on(
        `systemctl stop lsyncd; python3 ${load} fill ${String(seed)} ${source} 300; sync ${source}; systemctl start lsyncd`,
      );
      await d.until(
        "the full pass ends",
        async () =>
          (await d.attempt("journalctl -u lsyncd -o cat -I 2>/dev/null | grep -q 'Startup of'")).code === 0 ||
          (
            await d.attempt(
              "test $(find /mnt/storage_do_1 -type f | wc -l) -le $(find /mnt/storage_do_2 -type f | wc -l)",
            )
          ).code === 0,
      );
    }
    await d.on(`systemd-run -q --collect --unit=load python3 ${load} run ${String(seed)} ${source}`);
    await new Promise((resolve) => setTimeout(resolve, 5_000 + chance() * 25_000));
    if (machine) {
      await cutPower(d.host, mode, seed);
      await bootVm(d.host, () => undefined);
    } else await cutVolumes(d, mode, seed, ["load.service", "lsyncd.service"]);
    await openVolumes(d);
    const before = await look();
    process.stderr.write(`${fileSystem}: ${said}: ${JSON.stringify(before)}\n`);
    expect({ said, broken: before.broken }).toEqual({ said, broken: [] });

    for (const volume of ["source", "target"] as const) await unlock(d.host, volume);
    await d.on(`python3 ${load} open ${source}`);
    // It was killed by hand, so it is started by hand; after a boot it starts by itself.
    if (!machine) await d.on("systemctl start lsyncd");
    await d.until(
      `${said}: lsyncd-verify finds nothing`,
      async () => (await d.attempt("lsyncd-verify --checksum --max-age 0")).code === 0,
      1200,
    );
    const after = JSON.parse(await d.on(`python3 ${load} check ${source} /mnt/storage_do_2`)) as Look;
    expect({ said, ...after, files: 0, databases: 0 }).toEqual({
      said,
      broken: [],
      foreign: [],
      files: 0,
      databases: 0,
    });
    const tally = tallies.get(mode) ?? { machine: 0, disks: 0, databases: 0, files: 0, foreign: 0 };
    tally[machine ? "machine" : "disks"] += 1;
    tally.databases += before.databases;
    tally.files += before.files;
    tally.foreign += before.foreign.length;
    tallies.set(mode, tally);
  }

  it(`after each of ${String(cuts)} power cuts under load, the mirror's databases open and the mirror repairs itself (${fileSystem})`, async () => {
    for (let number = 0; number < cuts; number++) await round(number);
    for (const [mode, { machine, disks, databases, files, foreign }] of tallies)
      await row({
        injected: `Power cuts under load (kernel ${kernel}, ${fileSystem} on LUKS, of what was not flushed: ${mode}): ${String(machine)} of the machine, ${String(disks)} of both disks`,
        happened: `before lsyncd started again, all ${String(databases)} databases opened and held committed data alone, and ${String(foreign)} of ${String(files)} ordinary files held what was never written; after it, none, and lsyncd-verify --checksum found nothing`,
        lost: 0,
      });
  });
}
