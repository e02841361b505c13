import { randomUUID } from "node:crypto";
import { basename, join } from "node:path";
import { asRoot } from "../../toolchain/privilege";
import type { Disk, SandboxHost } from "./types";
import { volumeNames } from "./types";
import { until } from "./until";

/** A loop device as losetup reports it. */
interface Loop {
  name: string;
  "back-file": string | null;
}

/** Makes an image file with an ext4 file system on it, and its loop device. The file is sparse: it takes the room of what is written. */
export async function makeDisk(dir: string, label: string, sizeMb: number, inodes?: number): Promise<Disk> {
  const uuid = randomUUID();
  const image = join(dir, `${label}-${uuid}.img`);
  await asRoot("truncate", ["-s", `${sizeMb}M`, image]);
  await asRoot("mkfs.ext4", ["-q", "-F", ...(inodes === undefined ? [] : ["-N", String(inodes)]), "-U", uuid, image]);
  return attach({ image, device: "", uuid });
}

/** Makes sure the image has a loop device, and returns the disk with it: the number may be another after the machine restarted. */
export async function attach<T extends Disk>(disk: T): Promise<T> {
  const [existing] = await loopsOf((image) => image === disk.image);
  const device = existing ?? (await asRoot("losetup", ["--find", "--show", disk.image])).stdout.trim();
  return { ...disk, device };
}

/** The loop devices whose image file (deleted or not) is the wanted one. */
export async function loopsOf(isWanted: (image: string) => boolean): Promise<string[]> {
  const { stdout } = await asRoot("losetup", ["--json", "--list", "--output", "NAME,BACK-FILE"]);
  // With no loop device at all it prints nothing, not an empty list.
  if (stdout.trim() === "") return [];
  const { loopdevices } = JSON.parse(stdout) as { loopdevices: Loop[] };
  return loopdevices
    .filter((loop) => isWanted((loop["back-file"] ?? "").replace(/ \(deleted\)$/, "")))
    .map((loop) => loop.name);
}

/** Takes loop devices away and waits until they are gone: a device that is still mounted disappears with its last mount. */
export async function detach(isWanted: (image: string) => boolean): Promise<void> {
  for (const device of await loopsOf(isWanted)) await asRoot("losetup", ["--detach", device], { allowFailure: true });
  await until("the loop devices are gone", 20_000, async () => (await loopsOf(isWanted)).length === 0);
}

/** The host's /etc/fstab. nofail, as for any data volume: the machine comes up without its disk as well. */
export function fstab(host: Pick<SandboxHost, "volumes" | "atBoot">): string {
  return volumeNames
    .filter((name) => host.atBoot[name] !== "absent")
    .map((name) => {
      const options = host.atBoot[name] === "noauto" ? "defaults,nofail,noauto" : "defaults,nofail";
      return `UUID=${host.volumes[name].uuid} ${host.volumes[name].mountpoint} ext4 ${options} 0 2\n`;
    })
    .join("");
}

/** The disks a host has from its boot on: all but those of volumes that are still locked then. */
export function disksAtBoot(host: Pick<SandboxHost, "volumes" | "atBoot" | "disks">): Disk[] {
  const locked = volumeNames.filter((name) => host.atBoot[name] === "locked").map((name) => host.volumes[name].uuid);
  return host.disks.filter((disk) => !locked.includes(disk.uuid));
}

/** tmpfiles.d(5) lines for the links udev makes on a machine: there is no udev in a container. */
export function diskLinks(disks: Disk[]): string {
  return disks.map((disk) => `L+ /dev/disk/by-uuid/${disk.uuid} - - - - ../../${basename(disk.device)}\n`).join("");
}

/** The program that makes a mounted file system lose the data that is not on its disk yet, and fail from then on, as when a disk is removed. */
export function cutFileSystem(mountpoint: string): [command: string, args: string[]] {
  // EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32) and 2 is EXT4_GOING_FLAGS_NOLOGFLUSH: fs/ext4/ext4.h in Linux.
  const script =
    'open(my $d, "<", $ARGV[0]) or die "$ARGV[0]: $!"; my $how = pack("L", 2); ioctl($d, 0x8004587d, $how) or die "$ARGV[0]: $!"';
  return ["perl", ["-e", script, mountpoint]];
}
