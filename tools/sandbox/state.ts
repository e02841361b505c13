import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { sandboxDir, sandboxesDir } from "./paths";
import type { Release, SandboxHost } from "./types";

/** A process, distinguished from a later one with the same id by when it started. */
export interface Owner {
  pid: number;
  /** In clock ticks after the machine's boot: field 22 of /proc/PID/stat. */
  startTime: string;
}

/** Increased when the format of a sandbox's files changes. */
export const format = 2;

/** sandbox.json: the arguments that a sandbox was created with. */
export interface SandboxState {
  format: number;
  name: string;
  /** The sandbox's folder. */
  dir: string;
  release: Release;
  /** The image its hosts are layered on. */
  image: string;
  /** The process that it belongs to; none for a sandbox that stays until it is removed. */
  owner?: Owner;
}

/** host.json: the parts of a host created so far, written before each step that leaves something behind. */
export interface HostState {
  host: SandboxHost;
  /** False while it is being made: the remains of a killed `up` are removed, not repaired. */
  complete: boolean;
}

/** Writes a JSON file so that a reader sees the old one or the new one. */
export function writeJson(path: string, value: unknown): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(`${path}.new`, path);
}

const readJson = (path: string): unknown => (existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined);

const folders = (dir: string): string[] =>
  existsSync(dir)
    ? readdirSync(dir, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .sort(new Intl.Collator("en", { numeric: true }).compare)
    : [];

/** The folder of one host. */
export const hostDir = (sandbox: string, host: string): string => join(sandboxDir(sandbox), "hosts", host);

/** The names of all sandboxes of this user, finished or not. */
export const sandboxNames = (): string[] => folders(sandboxesDir());

/** The names of all hosts of a sandbox, finished or not; sqlite-2 comes before sqlite-10. */
export const hostNames = (sandbox: string): string[] => folders(join(sandboxDir(sandbox), "hosts"));

export const readSandboxState = (name: string): SandboxState | undefined =>
  readJson(join(sandboxDir(name), "sandbox.json")) as SandboxState | undefined;

export const writeSandboxState = (state: SandboxState): void => {
  writeJson(join(sandboxDir(state.name), "sandbox.json"), state);
};

export const readHostState = (sandbox: string, host: string): HostState | undefined =>
  readJson(join(hostDir(sandbox, host), "host.json")) as HostState | undefined;

export const writeHostState = (state: HostState): void => {
  writeJson(join(state.host.dir, "host.json"), state);
};

function startTimeOf(pid: number): string | undefined {
  try {
    // The second field is the program's name in parentheses and may hold blanks; the 22nd is the 20th after it.
    return readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\)/s, "").trim().split(" ")[19];
  } catch {
    return undefined;
  }
}

/** A running process, as an owner. */
export const processOf = (pid: number): Owner => ({ pid, startTime: startTimeOf(pid) ?? "" });

/** True while the owner runs. */
export const isAlive = (owner: Owner): boolean => startTimeOf(owner.pid) === owner.startTime;
