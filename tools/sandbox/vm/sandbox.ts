import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensurePrograms } from "../../../toolchain/programs";
import { asRoot } from "../../../toolchain/privilege";
import { makeKey } from "../host";
import { withLock } from "../lock";
import { cacheDir, lockPath } from "../paths";
import { ensureSandboxPrograms } from "../programs";
import { isAlive, processOf, writeJson } from "../state";
import type { Log, Release } from "../types";
import { chooseAcceleration } from "./acceleration";
import { bootVm, createVm, destroyVm, formatVolumes, unlock } from "./host";
import { ensureVmImage } from "./image";
import type { FileSystem, VmHost, VmState } from "./types";

/** Arguments for a sandbox of virtual machines. */
export interface VmSandboxOptions {
  name: string;
  hosts?: number;
  release?: Release;
  fileSystem?: FileSystem;
  /** The process that it is for: after that has ended, the next `up` removes it. */
  owner?: number;
  log?: Log;
}

const vmsDir = (): string => join(cacheDir(), "vms");
const dirOf = (name: string): string => join(vmsDir(), name);
const stateFile = (dir: string): string => join(dir, "vm.json");
const silent: Log = () => undefined;

const folders = (dir: string): string[] => (existsSync(dir) ? readdirSync(dir).sort() : []);

function statesOf(name: string): VmState[] {
  return folders(join(dirOf(name), "hosts")).flatMap((host) => {
    const file = stateFile(join(dirOf(name), "hosts", host));
    return existsSync(file) ? [JSON.parse(readFileSync(file, "utf8")) as VmState] : [];
  });
}

/** The names of all sandboxes of virtual machines of this user. */
export const vmSandboxNames = (): string[] => folders(vmsDir());

/** The machines of a sandbox, finished or not. */
export const vmHostsOf = (name: string): VmHost[] => statesOf(name).map(({ host }) => host);

async function remove(name: string): Promise<void> {
  for (const host of vmHostsOf(name)) await destroyVm(host);
  await asRoot("rm", ["-rf", "--one-file-system", dirOf(name)]);
}

/** Removes sandboxes whose process is gone, and machines that were never finished. */
async function sweep(log: Log): Promise<void> {
  for (const name of vmSandboxNames()) {
    for (const { host, owner, complete } of statesOf(name)) {
      if (complete && (!owner || isAlive(owner))) continue;
      // One that is being made belongs to a process that lives.
      if (!complete && owner && isAlive(owner)) continue;
      log(`Removing ${host.name} of sandbox ${name}, which is no longer used`);
      await destroyVm(host);
    }
  }
}

/** Makes virtual machines with two LUKS volumes each, or boots those that are off; both volumes are open and mounted then. */
export async function vmSandboxUp(options: VmSandboxOptions): Promise<VmHost[]> {
  const { name, hosts = 1, release = "bookworm", fileSystem = "ext4", log = silent } = options;
  await ensureSandboxPrograms(log);
  await ensurePrograms(["qemu-system-x86_64"], log);
  const onWait = (): void => {
    log(`Another run works on sandbox ${name}, waiting for it`);
  };
  return withLock(lockPath(`vm-${name}`), onWait, async () => {
    await sweep(log);
    const image = await ensureVmImage(release, log);
    const acceleration = await chooseAcceleration(image, log);
    const dir = dirOf(name);
    const keys = { privateKeyPath: join(dir, "id_ed25519"), knownHostsPath: join(dir, "known_hosts") };
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (!existsSync(`${keys.privateKeyPath}.pub`)) await makeKey(keys.privateKeyPath);
    const there = new Set(vmHostsOf(name).map((host) => host.name));
    const made: VmHost[] = [];
    const owner = options.owner === undefined ? {} : { owner: processOf(options.owner) };
    for (const host of Array.from({ length: hosts }, (_, index) => `sqlite-${String(index + 1)}`)) {
      if (there.has(host)) continue;
      log(`Making ${host} (a virtual machine with Debian ${release}, ${fileSystem} on LUKS)`);
      const machine = await createVm({
        ...keys,
        sandbox: name,
        name: host,
        dir: join(dir, "hosts", host),
        release,
        fileSystem,
        acceleration,
        image,
      });
      writeJson(stateFile(machine.dir), { host: machine, complete: false, owner: processOf(process.pid) });
      made.push(machine);
    }
    const all = [...vmHostsOf(name)];
    writeFileSync(
      keys.knownHostsPath,
      all.map((host) => `[${host.address}]:${String(host.port)} ${host.hostKey}\n`).join(""),
      { mode: 0o600 },
    );
    for (const host of all) {
      await bootVm(host, log);
      if (made.some((one) => one.dir === host.dir)) {
        await formatVolumes(host);
        writeJson(stateFile(host.dir), { host, complete: true, ...owner });
      }
      await unlock(host, "source");
      await unlock(host, "target");
    }
    return all;
  });
}

/** Removes a sandbox of virtual machines. Does nothing if there is none. */
export async function vmSandboxDown(name: string, log: Log = silent): Promise<void> {
  const onWait = (): void => {
    log(`Another run works on sandbox ${name}, waiting for it`);
  };
  await withLock(lockPath(`vm-${name}`), onWait, () => remove(name));
}
