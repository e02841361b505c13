/** Real Debian hosts on this machine, for the tests and for trying things out. */
export { boot, consoleTail, initPid, isRunning, kill, powerOff, reboot } from "./machine";
export { listSandboxes, sandboxDown, sandboxUp, type SandboxOptions } from "./sandbox";
export { execOn, quote, sshArgs, type ExecOptions } from "./ssh";
export type { Log, Release, Sandbox, SandboxHost, Volume, VolumeName } from "./types";
