import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../run";
import { releaseAddress, reserveEndpoint } from "./address";
import { groupOf, killGroup } from "./cgroup";
import { isMounted, mountRoot } from "./machine";
import { asRoot, writeAsRoot } from "./privilege";
import { hostDir, readHostState, writeHostState, type SandboxState } from "./state";
import { mountpoints, type SandboxHost } from "./types";
import { until } from "./until";
import { detach, fstab, makeVolume } from "./volumes";

/** The name systemd-nspawn gets for the host in a folder: no two users or sandboxes of a machine share it. At most 64 characters. */
export function machineName(dir: string, host: string): string {
  return `lsb-${createHash("sha256").update(dir).digest("hex").slice(0, 8)}-${host}`.slice(0, 64);
}

/** Makes an ed25519 key pair and returns its public half, as `ssh-ed25519 AAAA…`. */
export async function makeKey(path: string): Promise<string> {
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path]);
  return readFileSync(`${path}.pub`, "utf8").trim();
}

/** What a new host is made with. */
export interface NewHost {
  sandbox: SandboxState;
  name: string;
  /** The sandbox's client key. */
  privateKeyPath: string;
  knownHostsPath: string;
  volumeSizeMb: number;
}

/** Makes a host that is off: its root directory, keys, address and volumes. */
export async function createHost(wanted: NewHost): Promise<SandboxHost> {
  const { sandbox, name } = wanted;
  const dir = hostDir(sandbox.name, name);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const endpoint = await reserveEndpoint(dir);
  const hostKey = await makeKey(join(dir, "ssh_host_ed25519_key"));
  const [source, target] = await Promise.all([
    makeVolume(dir, "source", wanted.volumeSizeMb),
    makeVolume(dir, "target", wanted.volumeSizeMb),
  ]);
  const host: SandboxHost = {
    name,
    machine: machineName(dir, name),
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
    volumes: { source, target },
  };
  writeHostState({ host, atBoot: { source: "auto", target: "auto" }, complete: false });
  await mountRoot(host);
  await writeIdentity(host);
  return host;
}

/** Puts into the root directory what makes this host different from the others. */
async function writeIdentity(host: SandboxHost): Promise<void> {
  const file = (path: string, content: string, mode?: string): Promise<void> =>
    writeAsRoot(join(host.root, path), content, mode);
  const client = readFileSync(`${host.privateKeyPath}.pub`, "utf8");
  await file("etc/hostname", `${host.name}\n`);
  await file("etc/hosts", `127.0.0.1 localhost\n::1 localhost\n${host.address} ${host.name}\n`);
  await file("etc/machine-id", `${randomUUID().replaceAll("-", "")}\n`, "0444");
  await file("etc/fstab", fstab(host.volumes, { source: "auto", target: "auto" }));
  await file("etc/ssh/ssh_host_ed25519_key", readFileSync(join(host.dir, "ssh_host_ed25519_key"), "utf8"), "0600");
  await file("etc/ssh/ssh_host_ed25519_key.pub", `${host.hostKey}\n`);
  await file("etc/ssh/sshd_config.d/20-address.conf", `ListenAddress ${host.address}:${host.port}\n`);
  await file("root/.ssh/authorized_keys", client, "0600");
  await file("home/admin/.ssh/authorized_keys", client, "0600");
  await asRoot("chroot", [host.root, "chown", "-R", "admin:admin", "/home/admin/.ssh"]);
}

/** Removes a host and all it left on this machine, finished or half made, running or not. */
export async function destroyHost(sandbox: string, name: string): Promise<void> {
  const dir = hostDir(sandbox, name);
  const machine = machineName(dir, name);
  const root = join(dir, "root");
  await killGroup(groupOf(machine));
  await until(`${root} is unmounted`, 20_000, async () => {
    if (isMounted(root)) await asRoot("umount", [root], { allowFailure: true });
    return !isMounted(root);
  });
  await detach((image) => image.startsWith(`${dir}/`));
  const state = readHostState(sandbox, name);
  if (state) await releaseAddress(state.host.address);
  // What systemd-nspawn itself leaves behind when it is killed
  await asRoot("rm", ["-rf", `/run/systemd/nspawn/propagate/${machine}`, `/run/systemd/nspawn/unix-export/${machine}`]);
  await asRoot("rm", ["-rf", "--one-file-system", dir]);
}
