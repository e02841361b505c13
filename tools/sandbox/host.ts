import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { run } from "../../toolchain/run";
import { releaseAddress, reserveEndpoint } from "./address";
import { killGroup } from "./cgroup";
import { saveDisks } from "./disks";
import { asRoot, writeAsRoot } from "../../toolchain/privilege";
import { mountRoot, removeRoot } from "./root";
import { hostDir, type SandboxState } from "./state";
import { mountpoints, type SandboxHost, type Volume, type VolumeName } from "./types";
import { detach, fstab, makeDisk } from "./volumes";

/**
 * The name of a host for systemd-nspawn, from the host's folder, which has the host's name. It is unique among all sandboxes and users
 * of a machine. At most 64 characters.
 */
export function machineName(dir: string): string {
  return `lsb-${createHash("sha256").update(dir).digest("hex").slice(0, 8)}-${basename(dir)}`.slice(0, 64);
}

/** Makes an ed25519 key pair without a passphrase and returns its public half, as `ssh-ed25519 AAAA…`. */
export async function makeKey(path: string): Promise<string> {
  rmSync(path, { force: true });
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]);
  return readFileSync(`${path}.pub`, "utf8").trim();
}

/** The sizes of new volumes, in MiB: one for both, or one each. */
export type VolumeSizes = number | Record<VolumeName, number>;

/** Arguments for a new host. */
export interface NewHost {
  sandbox: SandboxState;
  name: string;
  /** The sandbox's client key. */
  privateKeyPath: string;
  knownHostsPath: string;
  volumeSizeMb: VolumeSizes;
}

/** Creates a host that is off, with its address, keys, volumes and root directory. */
export async function createHost(wanted: NewHost): Promise<SandboxHost> {
  const { sandbox, name } = wanted;
  const dir = hostDir(sandbox.name, name);
  // Its folder may have been removed by hand while it ran.
  await destroyHost(dir);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const endpoint = await reserveEndpoint(dir);
  const hostKey = await makeKey(join(dir, "ssh_host_ed25519_key"));
  const host: SandboxHost = {
    name,
    machine: machineName(dir),
    sandbox: sandbox.name,
    release: sandbox.release,
    ...endpoint,
    user: "root",
    hostKey,
    privateKeyPath: wanted.privateKeyPath,
    knownHostsPath: wanted.knownHostsPath,
    dir,
    root: join(dir, "root"),
    source: mountpoints.source,
    target: mountpoints.target,
    ...(await newVolumes(dir, wanted.volumeSizeMb)),
  };
  await fillRoot(host);
  return host;
}

/** Resets a host: an empty root directory and new empty volumes; it keeps its address and keys. The host is off afterwards. */
export async function recreateHost(host: SandboxHost, volumeSizeMb: VolumeSizes): Promise<void> {
  await killGroup(host.machine);
  await removeRoot(host.dir);
  await detach((image) => image.startsWith(`${host.dir}/`));
  await asRoot("rm", ["-f", ...host.disks.map((disk) => disk.image)]);
  Object.assign(host, await newVolumes(host.dir, volumeSizeMb));
  await fillRoot(host);
}

async function newVolumes(dir: string, sizes: VolumeSizes): Promise<Pick<SandboxHost, "volumes" | "disks" | "atBoot">> {
  const make = async (name: VolumeName): Promise<Volume> => ({
    ...(await makeDisk(dir, name, typeof sizes === "number" ? sizes : sizes[name])),
    mountpoint: mountpoints[name],
  });
  const [source, target] = [await make("source"), await make("target")];
  const disks = [source, target].map(({ image, device, uuid }) => ({ image, device, uuid }));
  return { volumes: { source, target }, disks, atBoot: { source: "auto", target: "auto" } };
}

/** Creates the root directory with the files that are specific to this host. */
async function fillRoot(host: SandboxHost): Promise<void> {
  await mountRoot(host);
  const client = readFileSync(`${host.privateKeyPath}.pub`, "utf8");
  const file = (path: string, content: string, mode?: string): Promise<void> =>
    writeAsRoot(join(host.root, path), content, mode);
  await file("etc/hostname", `${host.name}\n`);
  await file("etc/hosts", `127.0.0.1 localhost\n::1 localhost\n${host.address} ${host.name}\n`);
  await file("etc/machine-id", `${randomUUID().replaceAll("-", "")}\n`, "0444");
  await file("etc/fstab", fstab(host));
  await file("etc/ssh/ssh_host_ed25519_key", readFileSync(join(host.dir, "ssh_host_ed25519_key"), "utf8"), "0600");
  await file("etc/ssh/ssh_host_ed25519_key.pub", `${host.hostKey}\n`);
  await file("etc/ssh/sshd_config.d/20-address.conf", `ListenAddress ${host.address}:${host.port}\n`);
  await file("root/.ssh/authorized_keys", client, "0600");
  await file("home/admin/.ssh/authorized_keys", client, "0600");
  await asRoot("chroot", [host.root, "chown", "-R", "admin:admin", "/home/admin/.ssh"]);
  await saveDisks(host);
}

/**
 * Removes the host in a folder and everything it left on this machine: complete or not, running or not, even if the folder is
 * already gone.
 */
export async function destroyHost(dir: string): Promise<void> {
  const machine = machineName(dir);
  await killGroup(machine);
  await removeRoot(dir);
  await detach((image) => image.startsWith(`${dir}/`));
  // systemd-nspawn leaves these when it is killed
  await asRoot("rm", ["-rf", `/run/systemd/nspawn/propagate/${machine}`, `/run/systemd/nspawn/unix-export/${machine}`]);
  await asRoot("rm", ["-rf", "--one-file-system", dir]);
  await releaseAddress(dir);
}
