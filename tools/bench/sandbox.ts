import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sandboxDown, sandboxUp, type SandboxHost } from "../sandbox";
import { say } from "./options";

/** The tools of a measurement. */
export interface Place {
  /** At least one. */
  hosts: [SandboxHost, ...SandboxHost[]];
  /** For stacks and their state; removed when the work ends. */
  directory: string;
}

/** Creates a sandbox for one measurement, and removes it again, even if the work fails. */
export async function inSandbox(size: { hosts: number; volumeSizeMb: number }, work: (place: Place) => Promise<void>) {
  const name = `bench-${process.pid}`;
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-bench-"));
  try {
    // The packages that are deployed, and what Ansible needs on a host.
    const packages = ["lsyncd", "logrotate", "python3", "python3-apt"];
    const { hosts } = await sandboxUp({ name, owner: process.pid, ...size, packages, log: say });
    const [first, ...rest] = hosts;
    if (!first) throw new Error("the sandbox has no host");
    await work({ hosts: [first, ...rest], directory });
  } finally {
    await sandboxDown(name, say);
    await rm(directory, { recursive: true, force: true });
  }
}
