import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { groupOf, killGroup, processesIn, removeGroup } from "./cgroup";
import { asRoot, writeAsRoot } from "./privilege";
import { execOn } from "./ssh";
import { readHostState, readSandboxState, writeHostState } from "./state";
import type { Log, SandboxHost, VolumeName } from "./types";
import { until } from "./until";
import { attach, diskLinks } from "./volumes";

/** How long a host may take to boot or to shut down on a busy machine. */
const patienceMs = 90_000;

const consoleLog = (host: SandboxHost): string => join(host.dir, "console.log");

/** The last lines of what a host wrote to its console, for error messages. */
export function consoleTail(host: SandboxHost, lines = 30): string {
  const path = consoleLog(host);
  if (!existsSync(path)) return "";
  const text = readFileSync(path, "utf8")
    .replaceAll(/\x1b\[[0-9;?]*[a-zA-Z]/g, "")
    .replaceAll("\r", "");
  const tail = text.trimEnd().split("\n").slice(-lines).join("\n");
  return `The end of ${path}:\n${tail}`;
}

/** True while anything of the host runs, its supervisor included. */
export const isRunning = (host: SandboxHost): boolean => processesIn(groupOf(host.machine)).length > 0;

/** The process on this machine that is PID 1 in the host; undefined when it is not running. */
export function initPid(host: SandboxHost): number | undefined {
  return processesIn(groupOf(host.machine)).find((pid) => {
    try {
      return /^NSpid:\s+\d+\s+1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      return false;
    }
  });
}

/** The arguments of systemd-nspawn for a host. */
export function nspawnArguments(host: SandboxHost): string[] {
  return [
    "--quiet",
    "--boot",
    `--directory=${host.root}`,
    `--machine=${host.machine}`,
    `--hostname=${host.name}`,
    // Neither needs a running systemd on this machine; the control group is ours.
    "--register=no",
    "--keep-unit",
    // Nothing of this machine shows in the host, or the other way round, but the network and its resolver.
    "--link-journal=no",
    "--timezone=off",
    "--resolv-conf=replace-host",
    ...Object.values(host.volumes).map((volume) => `--bind=${volume.device}`),
  ];
}

/** Mounts the host's root directory (its own layer over the shared image) unless that is done. */
export async function mountRoot(host: SandboxHost): Promise<void> {
  if (isMounted(host.root)) return;
  const image = readSandboxState(host.sandbox)?.image ?? "";
  const copied = existsSync(join(host.root, "etc"));
  if (copied) return;
  if (!existsSync(image))
    throw new Error(`${host.name}: its image ${image} is gone. Take the sandbox down and make it anew.`);
  const [upper, work] = [join(host.dir, "upper"), join(host.dir, "work")];
  await asRoot("mkdir", ["-p", upper, work, host.root]);
  const escape = (path: string): string => path.replaceAll(/[\\:,]/g, "\\$&");
  const layers = `lowerdir=${escape(image)},upperdir=${escape(upper)},workdir=${escape(work)}`;
  const mounted = await asRoot("mount", ["-t", "overlay", "-o", layers, host.machine, host.root], {
    allowFailure: true,
  });
  // No overlay file system here, or one below that can't carry another: a copy does as well, it takes seconds and 300 MB.
  if (mounted.code !== 0) await asRoot("cp", ["-a", "--reflink=auto", `${image}/.`, host.root]);
}

/** True when something is mounted at exactly this path on this machine. */
export function isMounted(path: string): boolean {
  // /proc/mounts writes blanks and backslashes as octal escapes.
  const escaped = path.replaceAll(/[\\ \t\n]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
  return readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[1] === escaped);
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

/** Waits until the host answers over ssh and has finished booting. Throws when it stops, or with its console after 90 s. */
async function waitUntilUp(host: SandboxHost, log: Log): Promise<void> {
  const detail = (): string => consoleTail(host);
  await until(
    `${host.name} answers at ${host.address} port ${host.port}`,
    patienceMs,
    async () => {
      if (!isRunning(host)) throw new Error(`${host.name} stopped while booting.\n${detail()}`);
      return answersSsh(host);
    },
    detail,
  );
  const state = await execOn(host, "systemctl is-system-running --wait", { allowFailure: true, timeoutMs: patienceMs });
  if (state.stdout.trim() === "running") return;
  const failed = await execOn(host, "systemctl --failed --no-legend --plain", { allowFailure: true });
  log(`${host.name} is up, but ${state.stdout.trim() || state.stderr.trim()}:\n${failed.stdout.trimEnd()}`);
}

const supervisor = join(__dirname, "supervise.sh");

/** Boots a host that is off and waits until it is up. Does nothing when it runs. */
export async function boot(host: SandboxHost, log: Log = () => undefined): Promise<void> {
  if (!isRunning(host)) {
    await mountRoot(host);
    for (const [name, volume] of Object.entries(host.volumes)) host.volumes[name as VolumeName] = await attach(volume);
    await saveVolumes(host);
    const group = groupOf(host.machine);
    if (existsSync(group)) await removeGroup(group);
    await asRoot("setsid", ["--fork", "bash", supervisor, host.dir, group]);
    await until(
      `${host.name} is started`,
      patienceMs,
      () => isRunning(host),
      () => consoleTail(host),
    );
  }
  await waitUntilUp(host, log);
}

/** Writes down which disks the host has, for its next boot. */
export async function saveVolumes(host: SandboxHost): Promise<void> {
  const state = readHostState(host.sandbox, host.name);
  if (state) writeHostState({ ...state, host });
  await writeAsRoot(join(host.dir, "nspawn.args"), `${nspawnArguments(host).join("\n")}\n`);
  await writeAsRoot(join(host.root, "etc/tmpfiles.d/sandbox-disks.conf"), diskLinks(host.volumes));
}

/** Reboots a host as an operator would, and waits until it is up again. */
export async function reboot(host: SandboxHost, log: Log = () => undefined): Promise<void> {
  const before = initPid(host);
  // The connection ends with the host, in whatever way.
  await execOn(host, "systemctl reboot", { allowFailure: true });
  await until(
    `${host.name} shuts down`,
    patienceMs,
    () => initPid(host) !== before,
    () => consoleTail(host),
  );
  await waitUntilUp(host, log);
}

/** Shuts a host down as an operator would, and waits until it is off. */
export async function powerOff(host: SandboxHost): Promise<void> {
  if (!isRunning(host)) return;
  await execOn(host, "systemctl poweroff", { allowFailure: true });
  await until(
    `${host.name} shuts down`,
    patienceMs,
    () => !isRunning(host),
    () => consoleTail(host),
  );
  await removeGroup(groupOf(host.machine));
}

/** Ends a host like a crash of the machine: every process gets SIGKILL at once. What was written stays: this is no power cut. */
export async function kill(host: SandboxHost): Promise<void> {
  await killGroup(groupOf(host.machine));
}
