import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { registeredHosts } from "./address";
import { createHost, destroyHost, makeKey, recreateHost, type VolumeSizes } from "./host";
import { ensureImage } from "./image";
import { ensureWatchInstances } from "./limits";
import { takeLock, withLock } from "./lock";
import { boot } from "./machine";
import { lockPath, sandboxDir, sandboxesDir } from "./paths";
import { asRoot } from "../../toolchain/privilege";
import { ensureSandboxPrograms } from "./programs";
import { isRunning } from "./running";
import {
  format,
  hostDir,
  hostNames,
  isAlive,
  processOf,
  readHostState,
  readSandboxState,
  sandboxNames,
  writeHostState,
  writeSandboxState,
  type SandboxState,
} from "./state";
import type { Log, Release, Sandbox, SandboxHost } from "./types";

/** Arguments for a sandbox. */
export interface SandboxOptions {
  /** Small letters, digits and dashes. */
  name: string;
  /** At least this many hosts, named sqlite-1, sqlite-2, …; 1 by default. */
  hosts?: number;
  /** bookworm by default. */
  release?: Release;
  /** Debian packages that its hosts have from the start, in addition to those of every sandbox host. */
  packages?: string[];
  /** The size of each new volume in MiB; 512 by default. Their files are sparse. */
  volumeSizeMb?: VolumeSizes;
  /**
   * The id of the process that this sandbox is for. After that process has ended, the next `up` or `down` of any sandbox removes it.
   * Without an id, a sandbox stays until `down` removes it.
   */
  owner?: number;
  log?: Log;
}

/** The size of a new volume in MiB. */
const defaultSizeMb = 512;

const silent: Log = () => undefined;

/** Throws unless the name is valid for a folder, a machine and a control group. */
function checkName(name: string): void {
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name))
    throw new Error(
      `A sandbox's name begins with a letter and consists of lower-case letters, digits and dashes: not "${name}"`,
    );
}

async function withSandbox<T>(name: string, log: Log, work: () => Promise<T>): Promise<T> {
  const onWait = (): void => {
    log(`Another run works on sandbox ${name}, waiting for it`);
  };
  return withLock(lockPath(`sandbox-${name}`), onWait, work);
}

/**
 * Creates or completes a sandbox: leaves running hosts alone, boots those that are off, and adds hosts up to the given number
 * (never removes one). Also removes the remains of killed runs, of this sandbox and of others.
 */
export async function sandboxUp(options: SandboxOptions): Promise<Sandbox> {
  const { name, hosts = 1, volumeSizeMb = defaultSizeMb, log = silent } = options;
  checkName(name);
  await ensureSandboxPrograms(log);
  await sweep(log, name);
  return withSandbox(name, log, async () => {
    await removeLeftovers(name, log);
    const state = readSandboxState(name) ?? (await newSandbox(options, log));
    checkReuse(state, options);
    const keys = { privateKeyPath: join(state.dir, "id_ed25519"), knownHostsPath: join(state.dir, "known_hosts") };
    if (!existsSync(`${keys.privateKeyPath}.pub`)) await makeKey(keys.privateKeyPath);

    const existing = new Set(hostNames(name));
    const numbered = Array.from({ length: hosts }, (_, index) => `sqlite-${index + 1}`);
    const missing = numbered.filter((host) => !existing.has(host));
    if (missing.length > 0) log(`Making ${missing.join(", ")} (Debian ${state.release})`);
    await all(missing.map((host) => createHost({ sandbox: state, name: host, ...keys, volumeSizeMb })));
    const known = hostsOf(name).map((host) => `[${host.address}]:${host.port} ${host.hostKey}\n`);
    writeFileSync(keys.knownHostsPath, known.join(""), { mode: 0o600 });

    await ensureWatchInstances(registeredHosts().length, log);
    const off = hostsOf(name).filter((host) => !isRunning(host));
    if (off.length > 0) log(`Booting ${off.map((host) => host.name).join(", ")}`);
    await all(
      hostsOf(name).map(async (host) => {
        await boot(host, log);
        if (!readHostState(name, host.name)?.complete) writeHostState({ host, complete: true });
      }),
    );
    return { name, release: state.release, dir: state.dir, hosts: hostsOf(name) };
  });
}

async function newSandbox(options: SandboxOptions, log: Log): Promise<SandboxState> {
  const release = options.release ?? "bookworm";
  const state: SandboxState = {
    format,
    name: options.name,
    dir: sandboxDir(options.name),
    release,
    image: await ensureImage(release, log, options.packages),
    ...(options.owner === undefined ? {} : { owner: processOf(options.owner) }),
  };
  writeSandboxState(state);
  return state;
}

/** Throws if an existing sandbox does not match the arguments. */
function checkReuse(state: SandboxState, wanted: SandboxOptions): void {
  if (state.format !== format)
    throw new Error(`Sandbox ${state.name} was made by another version of this program. Take it down first.`);
  if (wanted.release && state.release !== wanted.release)
    throw new Error(
      `Sandbox ${state.name} runs ${state.release}, not ${wanted.release}. Take it down first, or choose another name.`,
    );
  if (state.owner && state.owner.pid !== wanted.owner)
    throw new Error(`Sandbox ${state.name} belongs to the running process ${state.owner.pid}. Choose another name.`);
}

/** Waits for all, then throws the first failure: nothing continues in the background after an error. */
async function all(work: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === "rejected");
  if (failed) throw failed.reason as Error;
}

/** The hosts of a sandbox, in order; incomplete ones may be among them during an `up`. */
function hostsOf(name: string): SandboxHost[] {
  return hostNames(name).flatMap((host) => readHostState(name, host)?.host ?? []);
}

/** Resets a host: Debian as installed, empty volumes, same address and keys. Boots it. Faster than a new sandbox. */
export async function reset(host: SandboxHost, options: { volumeSizeMb?: VolumeSizes; log?: Log } = {}): Promise<void> {
  const { volumeSizeMb = defaultSizeMb, log = silent } = options;
  await withSandbox(host.sandbox, log, async () => {
    await recreateHost(host, volumeSizeMb);
    await boot(host, log);
  });
}

/** Removes everything that is no longer needed. The caller holds the sandbox's lock, so no other run works on it. */
async function removeLeftovers(name: string, log: Log): Promise<void> {
  const state = readSandboxState(name);
  const halfMade = hostNames(name).filter((host) => !readHostState(name, host)?.complete);
  const isOrphan = state?.owner !== undefined && !isAlive(state.owner);
  if (isOrphan || halfMade.length === hostNames(name).length) {
    if (isOrphan) log(`Removing sandbox ${name}, whose process is gone`);
    else if (halfMade.length > 0) log(`Removing sandbox ${name}, which was never finished`);
    await removeSandbox(name);
    return;
  }
  for (const host of halfMade) {
    log(`Removing ${host} of sandbox ${name}, which was never finished`);
    await destroyHost(hostDir(name, host));
  }
}

/** Removes everything of a sandbox. The caller holds its lock. */
async function removeSandbox(name: string): Promise<void> {
  await all(hostNames(name).map((host) => destroyHost(hostDir(name, host))));
  if (existsSync(sandboxDir(name))) await asRoot("rm", ["-rf", "--one-file-system", sandboxDir(name)]);
}

/** Removes the remains of all sandboxes except those in use (and `except`, which the caller handles). */
async function sweep(log: Log, except?: string): Promise<void> {
  for (const name of sandboxNames().filter((other) => other !== except)) {
    const unlock = await takeLock(lockPath(`sandbox-${name}`), { wait: false });
    if (!unlock) continue;
    try {
      await removeLeftovers(name, log);
    } catch (error) {
      // Not the caller's request: `down` of that sandbox will report the same error.
      log(`Sandbox ${name} can't be cleared away: ${(error as Error).message}`);
    } finally {
      await unlock();
    }
  }
  // Hosts whose folders were removed by hand
  for (const dir of registeredHosts()) {
    if (existsSync(dir) || !dir.startsWith(`${sandboxesDir()}/`)) continue;
    log(`Removing what is left of ${dir}`);
    await destroyHost(dir);
  }
}

/** Removes a sandbox: its hosts, mounts, loop devices, control groups and files. Does nothing if there is none of that name. */
export async function sandboxDown(name: string, log: Log = silent): Promise<void> {
  checkName(name);
  await ensureSandboxPrograms(log);
  await withSandbox(name, log, () => removeSandbox(name));
  await sweep(log);
}

/** Removes the sandboxes made for a process (this one by default), and those of processes that are gone: the end of a test run. */
export async function sandboxesDownOf(owner = process.pid, log: Log = silent): Promise<void> {
  const own = sandboxNames().filter((name) => readSandboxState(name)?.owner?.pid === owner);
  await all(own.map((name) => withSandbox(name, log, () => removeSandbox(name))));
  if (sandboxNames().length > 0) {
    await ensureSandboxPrograms(log);
    await sweep(log);
  }
}

/** All sandboxes of this user, running or not. */
export function listSandboxes(): Sandbox[] {
  return sandboxNames().flatMap((name) => {
    const state = readSandboxState(name);
    return state ? [{ name, release: state.release, dir: state.dir, hosts: hostsOf(name) }] : [];
  });
}
