import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { processesOf } from "./cgroup";
import type { SandboxHost } from "./types";

/** True while any process of the host runs, including the one that restarts it after a reboot. */
export const isRunning = (host: SandboxHost): boolean => processesOf(host.machine).length > 0;

/** The process on this machine that is PID 1 in the host; undefined when the host is off. */
export function initPid(host: SandboxHost): number | undefined {
  return processesOf(host.machine).find((pid) => {
    try {
      // Its id here and its id in the host: one namespace deeper, no more.
      return /^NSpid:\s+\d+\s+1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      // It has just ended.
      return false;
    }
  });
}

/** As initPid, but throws when the host is off. */
export function requireInitPid(host: SandboxHost): number {
  const pid = initPid(host);
  if (pid === undefined) throw new Error(`${host.name} is off`);
  return pid;
}

/** The last lines of a host's console, for error messages. */
export function consoleTail(host: Pick<SandboxHost, "dir">, lines = 30): string {
  const path = join(host.dir, "console.log");
  if (!existsSync(path)) return "";
  // Without systemd's colours and cursor movements
  const text = readFileSync(path, "utf8")
    .replaceAll(/\x1b\[[0-9;?]*[a-zA-Z]/g, "")
    .replaceAll("\r", "");
  return `The end of ${path}:\n${text.trimEnd().split("\n").slice(-lines).join("\n")}`;
}
