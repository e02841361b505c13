import { parseArgs, type ParseArgsConfig } from "node:util";
import { releases, volumeNames, type Release, type VolumeName } from "./types";
import { lossModes, type Failing, type LossMode } from "./vm/disk";
import { fileSystems, type FileSystem } from "./vm/types";

/** Invalid arguments. */
export class UsageError extends Error {}

/** The parsed command line. */
export type Options =
  | { action: "help" }
  | { action: "up"; name: string; hosts: number; release?: Release }
  | { action: "up vm"; name: string; hosts: number; release?: Release; fileSystem?: FileSystem }
  | { action: "down"; name: string }
  | { action: "down all" }
  | { action: "list" }
  | { action: "reboot"; name: string; host: string }
  | { action: "lock" | "unlock"; name: string; host: string; volumes: readonly VolumeName[] }
  | { action: "cut"; name: string; host: string; mode: LossMode; seed: number }
  | { action: "fail"; name: string; host: string; volume: VolumeName; failing: Failing }
  | { action: "ssh"; name: string; host: string; command: string[] };

/** The default names of a sandbox, and of a sandbox of virtual machines. */
export const defaultName = "sandbox";
export const defaultVmName = "vm";

const options = {
  name: { type: "string" },
  hosts: { type: "string" },
  release: { type: "string" },
  filesystem: { type: "string" },
  vm: { type: "boolean" },
  all: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const satisfies ParseArgsConfig["options"];

/** The options of each action, besides --help. */
const takes: Record<string, (keyof typeof options)[]> = {
  up: ["name", "hosts", "release", "vm", "filesystem"],
  down: ["name", "all"],
  list: [],
  ssh: ["name"],
  reboot: ["name"],
  unlock: ["name"],
  lock: ["name"],
  cut: ["name"],
  fail: ["name"],
};

/** Parses the arguments after `npm run sandbox --`. Throws a UsageError with a message of one line. */
export function readArguments(argv: string[]): Options {
  const [own, command] = splitCommand(argv);
  const { values, positionals } = parseOwn(own);
  const [action, ...rest] = positionals;
  if (values.help || action === undefined || action === "help") return { action: "help" };
  const allowed = takes[action];
  if (!allowed) throw new UsageError(`unknown action "${action}"; the actions are ${Object.keys(takes).join(", ")}`);
  const wrong = Object.keys(values).find((option) => !allowed.some((name) => name === option));
  if (wrong !== undefined) throw new UsageError(`${action} has no option --${wrong}`);
  const ofMachines = values.vm === true || ["unlock", "lock", "cut", "fail"].includes(action);
  const name = values.name ?? (ofMachines ? defaultVmName : defaultName);
  if (["reboot", "unlock", "lock", "cut", "fail"].includes(action)) return onHost(action, name, rest);
  if (action === "ssh") {
    const [host] = rest;
    if (host === undefined) throw new UsageError("ssh needs the name of a host");
    return { action, name, host, command };
  }
  if (rest.length > 0) throw new UsageError(`${action} takes no "${rest.join(" ")}"`);
  if (action === "up") {
    const release = values.release === undefined ? {} : { release: releaseOf(values.release) };
    const wanted = { name, hosts: hostCount(values.hosts ?? "1"), ...release };
    if (values.vm) return { action: "up vm", ...wanted, ...fileSystemOf(values.filesystem) };
    if (values.filesystem !== undefined) throw new UsageError("--filesystem is for virtual machines: add --vm");
    return { action, ...wanted };
  }
  if (action === "list") return { action };
  if (values.all && values.name !== undefined) throw new UsageError("down takes --name or --all, not both");
  return values.all ? { action: "down all" } : { action: "down", name };
}

/** The actions on one host. */
function onHost(action: string, name: string, [host, first, second, ...more]: string[]): Options {
  if (host === undefined) throw new UsageError(`${action} needs the name of a host`);
  if (more.length > 0) throw new UsageError(`${action} takes no "${more.join(" ")}"`);
  if (action === "cut") {
    const mode = lossModes.find((known) => known === (first ?? "random"));
    if (!mode) throw new UsageError(`cut needs ${lossModes.join(", ")}, not "${String(first)}"`);
    if (second !== undefined && !/^\d+$/.test(second))
      throw new UsageError(`the seed must be a number, not "${second}"`);
    return { action, name, host, mode, seed: Number(second ?? Date.now() % 1e9) };
  }
  if (action === "fail") {
    const volume = volumeNames.find((known) => known === first);
    const failing = (["none", "read", "write"] as const).find((known) => known === second);
    if (!volume || !failing) throw new UsageError("fail needs source or target, then read, write or none");
    return { action, name, host, volume, failing };
  }
  if (second !== undefined || (action === "reboot" && first !== undefined)) {
    throw new UsageError(`${action} takes no "${String(second ?? first)}"`);
  }
  if (action === "lock" || action === "unlock") {
    const volumes =
      first === undefined ? volumeNames : [volumeNames[Number(first) - 1]].filter((one) => one !== undefined);
    if (volumes.length === 0)
      throw new UsageError(`${action} needs 1 (the source) or 2 (the target), not "${String(first)}"`);
    return { action, name, host, volumes };
  }
  return { action: "reboot", name, host };
}

function fileSystemOf(text: string | undefined): { fileSystem?: FileSystem } {
  if (text === undefined) return {};
  const fileSystem = fileSystems.find((known) => known === text);
  if (!fileSystem) throw new UsageError(`--filesystem must be one of ${fileSystems.join(", ")}, not "${text}"`);
  return { fileSystem };
}

/** Everything after `ssh HOST` is passed to the host, including options. */
function splitCommand(argv: string[]): [own: string[], command: string[]] {
  if (argv[0] !== "ssh") return [argv, []];
  let host = 1;
  while (argv[host]?.startsWith("-")) host += argv[host] === "--name" ? 2 : 1;
  const command = argv.slice(host + 1);
  return [argv.slice(0, host + 1), command[0] === "--" ? command.slice(1) : command];
}

function parseOwn(args: string[]) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function hostCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1)
    throw new UsageError(`--hosts must be a whole number of at least 1, not "${text}"`);
  return count;
}

function releaseOf(text: string): Release {
  const release = releases.find((known) => known === text);
  if (!release) throw new UsageError(`--release must be ${releases.join(" or ")}, not "${text}"`);
  return release;
}
