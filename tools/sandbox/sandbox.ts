import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { releaseOrphanedAddresses } from "./address";
import { createHost, destroyHost, makeKey } from "./host";
import { ensureImage } from "./image";
import { takeLock, withLock } from "./lock";
import { boot, isRunning } from "./machine";
import { lockPath, sandboxDir } from "./paths";
import { asRoot } from "./privilege";
import { ensurePrograms } from "./programs";
import {
  hostNames,
  isAlive,
  readHostState,
  readSandboxState,
  sandboxNames,
  thisProcess,
  writeHostState,
  writeSandboxState,
  type SandboxState,
} from "./state";
import type { Log, Release, Sandbox, SandboxHost } from "./types";

/** What a sandbox is to be. */
export interface SandboxOptions {
  /** Small letters, digits and dashes. */
  name: string;
  /** At least this many hosts, named sqlite-1, sqlite-2, …; 1 unless told. */
  hosts?: number;
  /** bookworm unless told. */
  release?: Release;
  /** The size of each new volume; 512 unless told. Its file is sparse. */
  volumeSizeMb?: number;
  /** Remove it with the next `up` or `down` of any sandbox once this process is gone: for tests. */
  untilExit?: boolean;
  log?: Log;
}

const sandboxLock = (name: string): string => lockPath(`sandbox-${name}`);

/** Throws unless the name can be a folder, a part of a machine's name and of a control group's. */
function checkName(name: string): void {
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name))
    throw new Error(
      `A sandbox's name is made of small letters, digits and dashes, and begins with a letter: not "${name}"`,
    );
}

/**
 * Makes a sandbox, or makes it whole: reuses hosts that run, boots those that are off, adds hosts up to the wanted number
 * (never removes one). Clears away what killed runs left, of this sandbox or of others.
 */
export async function sandboxUp(options: SandboxOptions): Promise<Sandbox> {
  const { name, hosts = 1, release, volumeSizeMb = 512, log = () => undefined } = options;
  checkName(name);
  await ensurePrograms(log);
  await sweep(log, name);
  return withLock(sandboxLock(name), async () => {
    await removeIncomplete(name, log);
    const known = await usableState(name, log);
    if (known && release && known.release !== release)
      throw new Error(
        `Sandbox ${name} runs ${known.release}, not ${release}. Take it down first, or choose another name.`,
      );
    const wanted = known?.release ?? release ?? "bookworm";
    const state = known ?? {
      name,
      release: wanted,
      image: await ensureImage(wanted, log),
      ...(options.untilExit ? { owner: thisProcess() } : {}),
    };
    writeSandboxState(state);
    const dir = sandboxDir(name);
    const privateKeyPath = join(dir, "id_ed25519");
    const knownHostsPath = join(dir, "known_hosts");
    if (!existsSync(`${privateKeyPath}.pub`)) {
      rmSync(privateKeyPath, { force: true });
      await makeKey(privateKeyPath);
    }
    const existing = new Set(hostNames(name));
    const numbered = Array.from({ length: hosts }, (_, index) => `sqlite-${index + 1}`);
    const missing = numbered.filter((host) => !existing.has(host));
    if (missing.length > 0) log(`Making ${missing.join(", ")} (Debian ${state.release})`);
    await settled(
      missing.map((host) => createHost({ sandbox: state, name: host, privateKeyPath, knownHostsPath, volumeSizeMb })),
    );
    const all = hostsOf(name);
    writeFileSync(knownHostsPath, all.map((host) => `[${host.address}]:${host.port} ${host.hostKey}\n`).join(""), {
      mode: 0o600,
    });
    const off = all.filter((host) => !isRunning(host));
    if (off.length > 0) log(`Booting ${off.map((host) => host.name).join(", ")}`);
    await settled(
      all.map(async (host) => {
        await boot(host, log);
        const hostState = readHostState(name, host.name);
        if (hostState && !hostState.complete) writeHostState({ ...hostState, complete: true });
      }),
    );
    return { name, release: state.release, dir, hosts: hostsOf(name) };
  });
}

/** The state of a sandbox that exists already; what a process that is gone left of that name is removed first. */
async function usableState(name: string, log: Log): Promise<SandboxState | undefined> {
  const state = readSandboxState(name);
  if (!state?.owner || state.owner.pid === process.pid) return state;
  if (isAlive(state.owner))
    throw new Error(`Sandbox ${name} belongs to the running process ${state.owner.pid}. Choose another name.`);
  log(`Removing sandbox ${name}, whose process is gone`);
  await removeSandbox(name);
  return undefined;
}

/** Waits for all, then throws the first failure: nothing goes on in the background after an error. */
async function settled<T>(work: Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(work);
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason as Error;
    return result.value;
  });
}

function hostsOf(name: string): SandboxHost[] {
  return hostNames(name).flatMap((host) => {
    const state = readHostState(name, host);
    return state ? [state.host] : [];
  });
}

/** Removes the hosts that a killed `up` of this sandbox left half made. The caller holds the sandbox's lock. */
async function removeIncomplete(name: string, log: Log): Promise<void> {
  for (const host of hostNames(name)) {
    if (readHostState(name, host)?.complete) continue;
    log(`Removing ${host} of sandbox ${name}, which was never finished`);
    await destroyHost(name, host);
  }
}

/** Removes everything of a sandbox. The caller holds its lock. */
async function removeSandbox(name: string): Promise<void> {
  await settled(hostNames(name).map((host) => destroyHost(name, host)));
  await asRoot("rm", ["-rf", "--one-file-system", sandboxDir(name)]);
}

/**
 * Clears away what nobody will ask for again: sandboxes of processes that are gone, and half-made hosts of a killed `up`.
 * A sandbox somebody works on right now is locked, and left alone.
 */
async function sweep(log: Log, except?: string): Promise<void> {
  for (const name of sandboxNames()) {
    if (name === except) continue;
    const release = await takeLock(sandboxLock(name), { wait: false });
    if (!release) continue;
    try {
      const state = readSandboxState(name);
      if (!state || (state.owner && !isAlive(state.owner))) {
        log(`Removing sandbox ${name}, whose process is gone`);
        await removeSandbox(name);
      } else await removeIncomplete(name, log);
    } finally {
      await release();
    }
  }
  await releaseOrphanedAddresses();
}

/** Removes a sandbox: its hosts, mounts, loop devices, control groups and files. Does nothing when there is none of that name. */
export async function sandboxDown(name: string, log: Log = () => undefined): Promise<void> {
  checkName(name);
  await ensurePrograms(log);
  await withLock(sandboxLock(name), () => removeSandbox(name));
  await sweep(log);
}

/** All sandboxes of this user, running or not. */
export function listSandboxes(): Sandbox[] {
  return sandboxNames().flatMap((name) => {
    const state = readSandboxState(name);
    return state ? [{ name, release: state.release, dir: sandboxDir(name), hosts: hostsOf(name) }] : [];
  });
}
