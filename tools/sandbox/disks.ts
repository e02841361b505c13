import { basename, join } from "node:path";
import type { Finished } from "../../toolchain/run";
import { asRoot, writeAsRoot } from "../../toolchain/privilege";
import { initPid, requireInitPid } from "./running";
import { nspawnArguments } from "./nspawn";
import { readHostState, writeHostState } from "./state";
import { mountpoints, volumeNames, type AtBoot, type Disk, type SandboxHost, type VolumeName } from "./types";
import { cutFileSystem, diskLinks, disksAtBoot, fstab, makeDisk } from "./volumes";

/** Runs a program inside a host without its sshd: as root, in all of the host's namespaces. Throws when the host is off. */
export async function enter(
  host: SandboxHost,
  argv: string[],
  options: { allowFailure?: boolean } = {},
): Promise<Finished> {
  return asRoot("nsenter", ["--target", String(requireInitPid(host)), "--all", "--", ...argv], options);
}

/** Records the host's disks and how it handles them at boot. */
export async function saveDisks(host: SandboxHost): Promise<void> {
  const state = readHostState(host.sandbox, host.name);
  writeHostState({ complete: state?.complete ?? false, host });
  await writeAsRoot(join(host.dir, "nspawn.args"), `${nspawnArguments(host).join("\n")}\n`);
  await writeAsRoot(join(host.root, "etc/tmpfiles.d/sandbox-disks.conf"), diskLinks(disksAtBoot(host)));
}

async function saveFstab(host: SandboxHost): Promise<void> {
  await writeAsRoot(join(host.root, "etc/fstab"), fstab(host));
  if (initPid(host) !== undefined) await enter(host, ["systemctl", "daemon-reload"]);
}

/** Makes a disk appear in a running host, as udev does when it is plugged in or unlocked. Does nothing if it is there already. */
async function plug(host: SandboxHost, disk: Disk): Promise<void> {
  const number = basename(disk.device).replace("loop", "");
  const script =
    '[ -e "$1" ] || mknod -m 660 "$1" b 7 "$2"; mkdir -p /dev/disk/by-uuid; ln -sfn "../../${1##*/}" "/dev/disk/by-uuid/$3"';
  await enter(host, ["sh", "-c", script, "sh", disk.device, number, disk.uuid]);
}

/** True when something is mounted at the volume's mount point in a running host. */
export async function isVolumeMounted(host: SandboxHost, name: VolumeName): Promise<boolean> {
  return (await enter(host, ["mountpoint", "-q", mountpoints[name]], { allowFailure: true })).code === 0;
}

/** Mounts a volume in a running host as an operator does after unlocking it: the device by name, regardless of fstab. */
export async function mount(host: SandboxHost, name: VolumeName, options = "defaults"): Promise<void> {
  const volume = host.volumes[name];
  await plug(host, volume);
  await enter(host, ["mount", "-t", "ext4", "-o", options, volume.device, volume.mountpoint]);
}

/** Unmounts a volume in a running host. Throws when it is in use, unless `lazy`. */
export async function umount(host: SandboxHost, name: VolumeName, options: { lazy?: boolean } = {}): Promise<void> {
  await enter(host, ["umount", ...(options.lazy ? ["--lazy"] : []), mountpoints[name]]);
}

/** Makes a mounted volume read only, as ext4 does after an error, or writable again. */
export async function remount(host: SandboxHost, name: VolumeName, mode: "ro" | "rw"): Promise<void> {
  // --options-mode=ignore: the line in fstab has its own idea of the options.
  await enter(host, ["mount", "--options-mode=ignore", "-o", `remount,${mode}`, mountpoints[name]]);
}

/** Sets how the host handles a volume from its next boot on. */
export async function setAtBoot(host: SandboxHost, name: VolumeName, atBoot: AtBoot): Promise<void> {
  host.atBoot[name] = atBoot;
  await saveDisks(host);
  await saveFstab(host);
}

/** Adds an empty disk (with a UUID of its own) to a host, running or not. It is in no fstab and not mounted. */
export async function newDisk(host: SandboxHost, sizeMb: number): Promise<Disk> {
  const disk = await makeDisk(host.dir, "disk", sizeMb);
  host.disks.push(disk);
  await saveDisks(host);
  if (initPid(host) !== undefined) await plug(host, disk);
  return disk;
}

/**
 * Puts other disks in the place of a host's volumes: unmounts what is mounted there, writes fstab anew, and mounts the new ones
 * where something was mounted before. `{ source: host.volumes.target, target: host.volumes.source }` exchanges the two.
 */
export async function setVolumes(host: SandboxHost, disks: Partial<Record<VolumeName, Disk>>): Promise<void> {
  const changed = volumeNames.filter((name) => disks[name] !== undefined);
  const running = initPid(host) !== undefined;
  const mounted: VolumeName[] = [];
  for (const name of changed) if (running && (await isVolumeMounted(host, name))) mounted.push(name);
  for (const name of mounted) await umount(host, name);
  for (const name of changed) {
    const disk = disks[name];
    if (disk)
      host.volumes[name] = { image: disk.image, device: disk.device, uuid: disk.uuid, mountpoint: mountpoints[name] };
  }
  await saveDisks(host);
  await saveFstab(host);
  for (const name of mounted) await mount(host, name);
}

/**
 * The path on this machine of a file in a running host, its mounted volumes included: readable as root, without a connection.
 * Good until the host reboots.
 */
export function pathOf(host: SandboxHost, path: string): string {
  return join("/proc", String(requireInitPid(host)), "root", path);
}

/** From now on, data that is not yet on the volumes' disks is lost, and the volumes fail with I/O errors, as when a disk is removed. */
export async function cutDisks(host: SandboxHost): Promise<void> {
  for (const name of volumeNames)
    if (await isVolumeMounted(host, name)) await enter(host, cutFileSystem(mountpoints[name]).flat());
}
