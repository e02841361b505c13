/**
 * Real Debian hosts on this machine, for tests and experiments.
 * A function that changes a host (its disks, its mounts at boot) updates the object passed to it and the host's file.
 */
export { enter, isVolumeMounted, mount, newDisk, pathOf, remount, setAtBoot, setVolumes, umount } from "./disks";
export type { VolumeSizes } from "./host";
export { boot, kill, powerCut, powerOff, reboot } from "./machine";
export { consoleTail, initPid, isRunning } from "./running";
export { listSandboxes, reset, sandboxDown, sandboxesDownOf, sandboxUp, type SandboxOptions } from "./sandbox";
export { execOn, quote, sshArgs, type ExecOptions, type Reachable } from "./ssh";
export { until } from "./until";
export { mountpoints, releases } from "./types";
export type { AtBoot, Disk, Log, Release, Sandbox, SandboxHost, Volume, VolumeName } from "./types";
export { cutFileSystem } from "./volumes";
