import { join } from "node:path";
import { connect } from "node:net";
import { claimEndpoint } from "./address";
import { groupOf, killGroup, removeGroups } from "./cgroup";
import { cutDisks, saveDisks } from "./disks";
import { asRoot } from "../../toolchain/privilege";
import { mountRoot } from "./root";
import { consoleTail, initPid, isRunning } from "./running";
import { execOn } from "./ssh";
import { volumeNames, type Log, type SandboxHost } from "./types";
import { until } from "./until";
import { attach } from "./volumes";

/** Time limit for a host to boot or shut down on a busy machine. */
const bootTimeoutMs = 90_000;

const supervisor = join(__dirname, "supervise.sh");
const silent: Log = () => undefined;

/** Boots a host that is off, and waits until it is up. If it is running, only waits. */
export async function boot(host: SandboxHost, log: Log = silent): Promise<void> {
  if (!isRunning(host)) {
    await claimEndpoint(host, host.dir);
    await mountRoot(host);
    await attachDisks(host);
    await removeGroups(host.machine);
    await asRoot("setsid", ["--fork", "bash", supervisor, host.dir, groupOf(host.machine)]);
    await wait(host, "starts", () => isRunning(host));
  }
  await waitUntilUp(host, log);
}

async function attachDisks(host: SandboxHost): Promise<void> {
  // One after the other: losetup looks for a free device and takes it in two steps.
  const disks = [];
  for (const disk of host.disks) disks.push(await attach(disk));
  host.disks = disks;
  for (const name of volumeNames) {
    const disk = disks.find(({ uuid }) => uuid === host.volumes[name].uuid);
    if (disk) host.volumes[name].device = disk.device;
  }
  await saveDisks(host);
}

/** Reboots a host as an operator does, and waits until it is up again. */
export async function reboot(host: SandboxHost, log: Log = silent): Promise<void> {
  const before = initPid(host);
  // The connection ends when the host does, with any error.
  await execOn(host, "systemctl reboot", { allowFailure: true });
  await wait(host, "shuts down", () => initPid(host) !== before);
  await waitUntilUp(host, log);
}

/** Shuts a host down as an operator does, and waits until it is off. */
export async function powerOff(host: SandboxHost): Promise<void> {
  if (!isRunning(host)) return;
  await execOn(host, "systemctl poweroff", { allowFailure: true });
  await wait(host, "shuts down", () => !isRunning(host));
  await removeGroups(host.machine);
}

/** Ends a host at once: every process gets SIGKILL. Unlike in a power cut, no written data is lost. */
export async function kill(host: SandboxHost): Promise<void> {
  await killGroup(host.machine);
}

/**
 * Ends a host as a power cut does: its volumes keep the data that had reached their disks and lose the rest, then every process gets SIGKILL.
 * The root file system loses nothing.
 */
export async function powerCut(host: SandboxHost): Promise<void> {
  await cutDisks(host);
  await killGroup(host.machine);
}

async function wait(host: SandboxHost, what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  await until(`${host.name} ${what}`, bootTimeoutMs, condition, () => consoleTail(host));
}

/** Waits until the host answers over ssh and has finished booting; reports failed units. */
async function waitUntilUp(host: SandboxHost, log: Log): Promise<void> {
  await wait(host, `answers at ${host.address} port ${host.port}`, async () => {
    if (!isRunning(host)) throw new Error(`${host.name} stopped while booting.\n${consoleTail(host)}`);
    return answersSsh(host);
  });
  const state = await execOn(host, "systemctl is-system-running --wait", {
    allowFailure: true,
    timeoutMs: bootTimeoutMs,
  });
  const word = state.stdout.trim();
  if (word === "running") return;
  if (word === "") throw new Error(`${host.name} is up, but can't be logged in to: ${state.stderr.trim()}`);
  const failed = await execOn(host, "systemctl --failed --no-legend --plain", { allowFailure: true });
  log(`${host.name} is up, but ${word}:\n${failed.stdout.trimEnd()}`);
}

async function answersSsh(host: SandboxHost): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(host.port, host.address);
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => {
      end(false);
    });
    socket.once("error", () => {
      end(false);
    });
    socket.once("data", (data) => {
      end(data.toString().startsWith("SSH-"));
    });
  });
}
