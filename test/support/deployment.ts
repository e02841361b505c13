import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Finished } from "../../toolchain/run";
import {
  execOn,
  sandboxDown,
  sandboxUp,
  type ExecOptions,
  type Reachable,
  type Release,
  type SandboxHost,
  type VolumeSizes,
} from "../../tools/sandbox";
import { Stack, type Extra } from "../../tools/stack";

/** Sandbox hosts and a stack for one test file, removed when the file is done or its process dies. */
export interface Deployment {
  /** The name of the stack. */
  name: string;
  hosts: SandboxHost[];
  /** The first host. */
  host: SandboxHost;
  stack: Stack;
  /** The directory of the stacks' state. */
  directory: string;
  /** Changes the stack's settings for all hosts, or for the given ones. */
  configure: (stack?: Extra, perHost?: Record<string, Extra>, hosts?: SandboxHost[]) => Promise<void>;
  /** A separate stack for the same hosts, as another operator would have. */
  otherStack: (name: string) => Promise<Stack>;
  /** The same stack, run by another version of the program in the given directory. */
  sameStack: (program: string) => Stack;
  remove: () => Promise<void>;
}

let count = 0;

/** Boots sandbox hosts and makes an empty stack for them. */
export async function prepare(
  purpose: string,
  options: { hosts?: number; release?: Release; volumeSizeMb?: VolumeSizes } = {},
): Promise<Deployment> {
  const name = `t${process.pid}-${(count += 1)}-${purpose}`.slice(0, 31).replace(/-$/, "");
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  const sandbox = await sandboxUp({ name, owner: process.pid, ...options });
  const [host] = sandbox.hosts;
  if (!host) throw new Error("the sandbox has no host");
  const stack = await new Stack({ name, directory }).init();
  await stack.configure(sandbox.hosts);
  return {
    name,
    hosts: sandbox.hosts,
    host,
    stack,
    directory,
    configure: (settings, perHost, hosts = sandbox.hosts) => stack.configure(hosts, settings, perHost),
    otherStack: async (other) => {
      const made = await new Stack({ name: other, directory }).init();
      await made.configure(sandbox.hosts);
      return made;
    },
    sameStack: (program) => new Stack({ name, directory, program }),
    remove: async () => {
      await sandboxDown(name);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** The host with this number, from 1. Throws when there is none. */
export function hostAt({ hosts }: Deployment, number: number): SandboxHost {
  const found = hosts[number - 1];
  if (!found) throw new Error(`there is no host ${number}`);
  return found;
}

/** Runs a shell command on a host and returns what it printed, without the last newline. */
export async function on(host: Reachable, command: string, options: ExecOptions = {}): Promise<string> {
  return (await execOn(host, command, options)).stdout.trimEnd();
}

/** Polls until `look` returns a value, for at most `seconds`; throws with the last error, or what `explain` says, after that. */
export async function eventually<T>(
  look: () => Promise<T | undefined | false>,
  seconds = 30,
  explain?: () => Promise<string>,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  let last: unknown = "nothing came";
  while (Date.now() < deadline) {
    try {
      const value = await look();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const why = explain ? await explain() : last instanceof Error ? last.message : String(last);
  throw new Error(`not within ${seconds} s: ${why}`);
}

/**
 * Waits until everything that was written to the source before is in the mirror and on its disk, with the host's own lsyncd-wait. Throws
 * with what that says and the state of the service. For a mirror of which every file can arrive.
 */
export async function mirrored(host: SandboxHost, seconds = 60): Promise<void> {
  const { code, stdout, stderr } = await execOn(host, `lsyncd-wait --timeout ${seconds}`, { allowFailure: true });
  if (code === 0) return;
  const state = await on(host, "systemctl status lsyncd --no-pager -n 30", { allowFailure: true });
  throw new Error(`lsyncd-wait ended with ${code}: ${stdout}${stderr}\n${state}`);
}

/** Every file, directory and link of a volume or of the system's own places, with mode, owner, size and checksum. */
export async function listing(host: SandboxHost, ...paths: string[]): Promise<string> {
  const places = paths.map((path) => `'${path}'`).join(" ");
  return on(
    host,
    `for p in ${places}; do [ -e "$p" ] || continue; find "$p" -xdev \\( \\( -name lost+found -o -name '.lsyncd-wait.*' -o -path "$p/.lsyncd-as-code/generation" -o -path "$p/.lsyncd-as-code/copies" \\) -prune \\) -o -printf '%p %M %u %g %l\\n' | sort
     find "$p" -xdev -type f -not -path "$p/.lsyncd-as-code/generation" -not -name '.lsyncd-wait.*' -print0 | sort -z | xargs -0 -r sha256sum; done`,
  );
}

/** Everything on a host that a deployment can change; a refused deployment must leave it as it was. */
export const systemPlaces = [
  ...["/etc/lsyncd", "/etc/systemd/system", "/etc/logrotate.d", "/etc/sysctl.d", "/usr/local"],
  ...["/var/lib/lsyncd-as-code", "/var/log/lsyncd", "/var/lib/dpkg/status", "/var/lib/dpkg/updates", "/root"],
];

/** The content of a volume, by checksum, so that two listings can be compared. Without the probes of lsyncd-wait and the monitor, which come and go. */
export async function content(host: SandboxHost, path: string): Promise<string> {
  return on(
    host,
    `cd '${path}' && find . \\( -path ./lost+found -o -path ./.lsyncd-as-code -o -name '.lsyncd-wait.*' -o -name .lsyncd-monitor-probe \\) -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum`,
  );
}

/** Fails with the run's whole output unless the run succeeded. */
export function succeeded(finished: Finished): string {
  const text = `${finished.stdout}\n${finished.stderr}`;
  if (finished.code !== 0) throw new Error(`exit code ${finished.code}:\n${text}`);
  return text;
}

/** Fails with the run's whole output unless the run failed; returns the output. */
export function failed(finished: Finished): string {
  const text = `${finished.stdout}\n${finished.stderr}`;
  if (finished.code === 0) throw new Error(`succeeded, but should have failed:\n${text}`);
  return text;
}
