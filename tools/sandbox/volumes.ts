import { randomUUID } from "node:crypto";
import { basename, join } from "node:path";
import { asRoot } from "./privilege";
import { until } from "./until";
import { mountpoints, volumeNames, type Volume, type VolumeName } from "./types";

/** What losetup tells of one loop device. */
interface Loop {
  name: string;
  "back-file": string | null;
}

/** Makes an image file with an ext4 file system on it. The file is sparse: it takes the room of what is written. */
export async function makeVolume(dir: string, name: VolumeName, sizeMb: number): Promise<Volume> {
  const uuid = randomUUID();
  const image = join(dir, `${name}-${uuid.slice(0, 8)}.img`);
  await asRoot("truncate", ["-s", `${sizeMb}M`, image]);
  await asRoot("mkfs.ext4", ["-q", "-F", "-U", uuid, "-E", "root_owner=0:0", image]);
  return attach({ image, device: "", uuid, mountpoint: mountpoints[name] });
}

/** Makes sure the image has a loop device, and returns the volume with it. */
export async function attach(volume: Volume): Promise<Volume> {
  const [existing] = await loopsOf((file) => file === volume.image);
  const device = existing ?? (await asRoot("losetup", ["--find", "--show", volume.image])).stdout.trim();
  return { ...volume, device };
}

/** The loop devices whose image file (deleted or not) is the wanted one. */
export async function loopsOf(isWanted: (image: string) => boolean): Promise<string[]> {
  const { stdout } = await asRoot("losetup", ["--json", "--list", "--output", "NAME,BACK-FILE"]);
  if (stdout.trim() === "") return [];
  const { loopdevices } = JSON.parse(stdout) as { loopdevices: Loop[] };
  return loopdevices
    .filter((loop) => isWanted((loop["back-file"] ?? "").replace(/ \(deleted\)$/, "")))
    .map((loop) => loop.name);
}

/** Takes loop devices away and waits until they are gone: a device still mounted somewhere goes when the last mount does. */
export async function detach(isWanted: (image: string) => boolean): Promise<void> {
  for (const device of await loopsOf(isWanted)) await asRoot("losetup", ["--detach", device], { allowFailure: true });
  await until("the loop devices are gone", 20_000, async () => (await loopsOf(isWanted)).length === 0);
}

/** How a host treats a volume at boot: `auto` mounts it, `noauto` has a line in fstab but waits to be told, `absent` has none. */
export type AtBoot = "auto" | "noauto" | "absent";

/** The host's /etc/fstab. nofail, as for any data volume: without its disk the machine still comes up. */
export function fstab(volumes: Record<VolumeName, Volume>, atBoot: Record<VolumeName, AtBoot>): string {
  return volumeNames
    .filter((name) => atBoot[name] !== "absent")
    .map((name) => {
      const options = atBoot[name] === "auto" ? "defaults,nofail" : "defaults,nofail,noauto";
      return `UUID=${volumes[name].uuid} ${volumes[name].mountpoint} ext4 ${options} 0 2\n`;
    })
    .join("");
}

/** tmpfiles.d(5) lines for the links udev makes on a machine; there is no udev in a container. */
export function diskLinks(volumes: Record<VolumeName, Volume>): string {
  return volumeNames
    .map((name) => `L+ /dev/disk/by-uuid/${volumes[name].uuid} - - - - ../../${basename(volumes[name].device)}\n`)
    .join("");
}
