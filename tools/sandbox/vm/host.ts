import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asRoot, writeAsRoot } from "../../../toolchain/privilege";
import { claimEndpoint, releaseAddress, reserveEndpoint } from "../address";
import { makeKey } from "../host";
import { execOn, quote } from "../ssh";
import { until } from "../until";
import type { Log, Release, VolumeName } from "../types";
import type { Acceleration } from "./acceleration";
import { consoleTail, endProcesses, isOn, powerOn } from "./process";
import { passphrase, vmVolumes, type FileSystem, type VmHost } from "./types";

/** Time limit for an emulated machine to boot, in milliseconds. It takes 30 to 65 s on a quiet machine. */
const bootMs = 300_000;

/** The size of each volume's disk in MiB: room for a file larger than the memory of a machine. The images are sparse. */
const volumeSizeMb = 2048;

/** The longest path of a machine's folder with which a socket in it fits into the 107 bytes of unix(7); ssh adds 17 characters for a while. */
const longestFolder = 80;

/** Arguments for a new machine. */
export interface NewVm {
  sandbox: string;
  name: string;
  dir: string;
  release: Release;
  fileSystem: FileSystem;
  acceleration: Acceleration;
  image: string;
  privateKeyPath: string;
  knownHostsPath: string;
}

/** Makes a machine that is off, with empty disks. */
export async function createVm(wanted: NewVm): Promise<VmHost> {
  const { dir } = wanted;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const endpoint = await reserveEndpoint(dir);
  const hostKey = await makeKey(join(dir, "ssh_host_ed25519_key"));
  const shared = Buffer.byteLength(dir) <= longestFolder ? { sharedConnection: join(dir, "ssh") } : {};
  const host: VmHost = { ...wanted, ...endpoint, ...shared, user: "root", hostKey };
  await asRoot("cp", ["--sparse=always", "--reflink=auto", join(host.image, "root.img"), join(dir, "root.img")]);
  for (const name of ["source", "target"]) {
    await asRoot("truncate", ["-s", `${String(volumeSizeMb)}M`, join(dir, `${name}.img`)]);
  }
  await asRoot("chown", [
    String(process.getuid?.() ?? 0),
    ...["root", "source", "target"].map((disk) => join(dir, `${disk}.img`)),
  ]);
  await fillRoot(host);
  return host;
}

/** Writes the files that are specific to this machine to the root disk. */
async function fillRoot(host: VmHost): Promise<void> {
  const root = join(host.dir, "root");
  mkdirSync(root, { recursive: true });
  await asRoot("mount", ["-o", "loop", join(host.dir, "root.img"), root]);
  try {
    const file = (path: string, content: string, mode?: string): Promise<void> =>
      writeAsRoot(join(root, path), content, mode);
    await file("etc/hostname", `${host.name}\n`);
    await file("etc/hosts", `127.0.0.1 localhost ${host.name}\n::1 localhost\n`);
    await file("etc/machine-id", `${randomUUID().replaceAll("-", "")}\n`, "0444");
    await file("etc/ssh/ssh_host_ed25519_key", readFileSync(join(host.dir, "ssh_host_ed25519_key"), "utf8"), "0600");
    await file("etc/ssh/ssh_host_ed25519_key.pub", `${host.hostKey}\n`);
    await file("root/.ssh/authorized_keys", readFileSync(`${host.privateKeyPath}.pub`, "utf8"), "0600");
  } finally {
    await asRoot("umount", [root]);
  }
}

/** Boots a machine, waits until it answers and has finished booting, and reports how long that took if it was off. */
export async function bootVm(host: VmHost, log: Log): Promise<void> {
  const began = Date.now();
  const wasOff = !isOn(host);
  if (wasOff) {
    await claimEndpoint(host, host.dir);
    await powerOn(host);
  }
  await until(
    `${host.name} answers`,
    bootMs,
    async () => {
      if (!isOn(host)) throw new Error(`${host.name} went off while booting.\n${consoleTail(host)}`);
      const { code } = await execOn(host, "systemctl is-system-running --wait >/dev/null; true", {
        allowFailure: true,
        timeoutMs: bootMs,
      });
      return code === 0;
    },
    () => consoleTail(host),
  );
  if (wasOff) log(`${host.name} is up after ${String(Math.round((Date.now() - began) / 1000))} s`);
}

/** Makes both LUKS volumes of a new machine, and their lines in crypttab and fstab: neither is opened at boot. */
export async function formatVolumes(host: VmHost): Promise<void> {
  const lines = Object.values(vmVolumes).map(({ device, mapper, mountpoint }) =>
    [
      // A quick key derivation: an emulated machine takes minutes for the default one.
      `printf %s ${passphrase} | cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file=- ${device}`,
      `printf %s ${passphrase} | cryptsetup open --key-file=- ${device} ${mapper}`,
      `mkfs.${host.fileSystem} -q /dev/mapper/${mapper}`,
      `echo "${mapper} UUID=$(cryptsetup luksUUID ${device}) none luks,noauto" >>/etc/crypttab`,
      `echo "/dev/mapper/${mapper} ${mountpoint} ${host.fileSystem} noauto 0 2" >>/etc/fstab`,
      `cryptsetup close ${mapper}`,
    ].join("\n"),
  );
  await execOn(host, ["set -e", ...lines, "systemctl daemon-reload", "sync"].join("\n"), { timeoutMs: bootMs });
}

/** Opens a volume and mounts it, as an operator does after a boot. Does nothing when it is mounted. */
export async function unlock(host: VmHost, name: VolumeName): Promise<void> {
  const { device, mapper, mountpoint } = vmVolumes[name];
  await execOn(
    host,
    `set -e
[ -e /dev/mapper/${mapper} ] || printf %s ${quote(passphrase)} | cryptsetup open --key-file=- ${device} ${mapper}
mountpoint -q ${mountpoint} || mount ${mountpoint}`,
  );
}

/** Unmounts a volume and closes it. Throws when it is in use. */
export async function lock(host: VmHost, name: VolumeName): Promise<void> {
  const { mapper, mountpoint } = vmVolumes[name];
  await execOn(host, `set -e; ! mountpoint -q ${mountpoint} || umount ${mountpoint}; cryptsetup close ${mapper}`);
}

/** Shuts a machine down as an operator does, and waits until it is off. */
export async function shutDown(host: VmHost): Promise<void> {
  if (!isOn(host)) return;
  await execOn(host, "systemctl poweroff", { allowFailure: true });
  await until(
    `${host.name} is off`,
    bootMs,
    () => !isOn(host),
    () => consoleTail(host),
  );
  await endProcesses(host);
}

/** Reboots a machine as an operator does, and waits until it is up again. Its volumes are closed then. */
export async function rebootVm(host: VmHost, log: Log): Promise<void> {
  // QEMU ends when its machine reboots; the disks stay as they were.
  await execOn(host, "systemctl reboot", { allowFailure: true });
  await until(
    `${host.name} shuts down`,
    bootMs,
    () => !isOn(host),
    () => consoleTail(host),
  );
  await endProcesses(host);
  await bootVm(host, log);
}

/** Removes a machine and everything it left on this one. */
export async function destroyVm(host: VmHost): Promise<void> {
  await endProcesses(host);
  await asRoot("umount", [join(host.dir, "root")], { allowFailure: true });
  await asRoot("rm", ["-rf", "--one-file-system", host.dir]);
  await releaseAddress(host.dir);
}
