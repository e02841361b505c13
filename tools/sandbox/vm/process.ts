import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { until } from "../until";
import { accelerationArguments, accelerationParameters } from "./acceleration";
import type { LossMode, Failing } from "./disk";
import type { VmHost } from "./types";

/** The disks of a machine, in the order in which it sees them: vda, vdb, vdc. */
export const diskNames = ["root", "source", "target"] as const;

const kernelParameters = "root=/dev/vda rw console=ttyS0 apparmor=1 security=apparmor net.ifnames=0 quiet";

/** Memory of a machine in MiB; two of them and the tests fit into a small machine. */
const memoryMb = 1536;

const bootstrap = join(__dirname, "../../../toolchain/bootstrap.mjs");
const socketOf = (host: VmHost, name: string): string => join(host.dir, "run", name);

/** The console of a machine: what its kernel and systemd print. */
export const consoleOf = (host: VmHost): string => join(host.dir, "console.log");

/** The last lines of a machine's console. */
export function consoleTail(host: VmHost): string {
  return existsSync(consoleOf(host)) ? readFileSync(consoleOf(host), "utf8").split("\n").slice(-25).join("\n") : "";
}

/** The process that a host's pid file names, if it is alive and its command line names the host's folder. */
function processIn(host: VmHost, file: string): number | undefined {
  const path = join(host.dir, file);
  const pid = existsSync(path) ? Number(readFileSync(path, "utf8")) : 0;
  if (!pid) return undefined;
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, "utf8").includes(host.dir) ? pid : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the machine is on. */
export const isOn = (host: VmHost): boolean => processIn(host, "qemu.pid") !== undefined;

/** QEMU's arguments for a machine, whose disks are behind the disk server. */
export function qemuArguments(host: VmHost): string[] {
  const disk = (name: string): string[] => [
    "-drive",
    `if=none,id=${name},format=raw,cache=writeback,werror=report,rerror=report,file=nbd:unix:${socketOf(host, `${name}.nbd`)}`,
    "-device",
    `virtio-blk-pci,drive=${name}`,
  ];
  return [
    ...[...accelerationArguments(host.acceleration), "-smp", "1", "-m", String(memoryMb)],
    ...["-nographic", "-nodefaults", "-no-reboot", "-serial", `file:${consoleOf(host)}`],
    ...["-kernel", join(host.image, "vmlinuz"), "-initrd", join(host.image, "initrd")],
    ...["-append", [kernelParameters, ...accelerationParameters(host.acceleration)].join(" ")],
    ...[
      "-netdev",
      `user,id=n,hostfwd=tcp:${host.address}:${String(host.port)}-:22`,
      "-device",
      "virtio-net-pci,netdev=n",
    ],
    ...["-device", "virtio-rng-pci", "-rtc", "base=utc,clock=host"],
    ...["-qmp", `unix:${socketOf(host, "qmp")},server=on,wait=off`, "-pidfile", join(host.dir, "qemu.pid")],
    ...diskNames.flatMap(disk),
  ];
}

/** Starts a program that outlives this process; its output goes to a file. */
function startDetached(program: string, args: string[], log: string): void {
  const output = openSync(log, "a");
  const child = spawn(program, args, { stdio: ["ignore", output, output], detached: true });
  child.unref();
  closeSync(output);
}

/** Starts the disk server and QEMU. Does nothing when the machine is on. */
export async function powerOn(host: VmHost): Promise<void> {
  if (isOn(host)) return;
  await endProcesses(host);
  rmSync(consoleOf(host), { force: true });
  mkdirSync(join(host.dir, "run"), { recursive: true });
  const images = diskNames.map((name) => join(host.dir, `${name}.img`));
  startDetached(
    process.execPath,
    [bootstrap, "tools/sandbox/vm/disk-server.ts", host.dir, ...images],
    join(host.dir, "disks.log"),
  );
  const sockets = [...diskNames.map((name) => `${name}.nbd`), "control"].map((name) => socketOf(host, name));
  await until(`${host.name} has its disks`, 60_000, () => sockets.every(existsSync));
  startDetached("qemu-system-x86_64", qemuArguments(host), join(host.dir, "qemu.log"));
  const log = (): string => readFileSync(join(host.dir, "qemu.log"), "utf8");
  await until(`${host.name} is switched on`, 60_000, () => isOn(host), log);
}

/** Sends one line to the disk server and returns its answer. */
async function control(host: VmHost, line: string): Promise<string> {
  return new Promise((done, fail) => {
    const socket = connect(socketOf(host, "control"));
    let answer = "";
    socket.on("data", (data) => {
      answer += data.toString();
    });
    socket.on("error", fail);
    socket.on("close", () => {
      done(answer.trim());
    });
    socket.write(`${line}\n`);
  });
}

/**
 * Whether a process has ended with all its threads. A killed one has no command line first, and closes its files and sockets after that; the
 * last thing that is left of it is one thread, a zombie, until its parent asks for its result.
 */
function hasEnded(pid: number): boolean {
  try {
    const threads = readdirSync(`/proc/${String(pid)}/task`);
    const [state] = readFileSync(`/proc/${String(pid)}/stat`, "utf8").replace(/^.*\) /s, "");
    return threads.length <= 1 && state === "Z";
  } catch {
    return true;
  }
}

/** Kills QEMU and the disk server at once; data that was not flushed is lost. */
export async function endProcesses(host: VmHost): Promise<void> {
  const pids = ["qemu.pid", "disks.pid"].flatMap((file) => processIn(host, file) ?? []);
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has just ended.
    }
  }
  await until(`${host.name} is off`, 20_000, () => pids.every(hasEnded));
  rmSync(join(host.dir, "run"), { recursive: true, force: true });
}

/**
 * The power of a machine fails: its disks keep flushed data and, of the rest, the part that the mode defines (repeatable with
 * the same seed). Returns the disk server's answer, which counts the blocks that were lost on each disk.
 */
export async function cutPower(host: VmHost, mode: LossMode, seed: number): Promise<string> {
  const answer = await control(host, `cut ${mode} ${String(seed)}`);
  await endProcesses(host);
  return answer;
}

/**
 * The power of these disks fails, and the machine continues: they keep flushed data and, of the rest, the part that the mode defines,
 * and answer with I/O errors until that is switched off. Data that the kernel had not yet written to them is lost.
 */
export async function cutDisks(
  host: VmHost,
  disks: (typeof diskNames)[number][],
  mode: LossMode,
  seed: number,
): Promise<string> {
  const answer = await control(host, `lose ${mode} ${String(seed)} ${disks.join(" ")}`);
  if (!answer.startsWith("cut ")) throw new Error(`${host.name}: the disk server says: ${answer}`);
  return answer;
}

/** Makes a disk of a machine answer requests with I/O errors from now on, or no longer. */
export async function failDisk(host: VmHost, disk: (typeof diskNames)[number], failing: Failing): Promise<void> {
  const answer = await control(host, `fail ${disk} ${failing}`);
  if (answer !== "ok") throw new Error(`${host.name}: the disk server says: ${answer}`);
}

/** Sends one QMP command to QEMU, such as `stop` and `cont`. */
export async function monitorCommand(host: VmHost, command: string): Promise<void> {
  await new Promise<void>((done, fail) => {
    const socket = connect(socketOf(host, "qmp"));
    const lines = [{ execute: "qmp_capabilities" }, { execute: command }];
    let answers = 0;
    socket.on("error", fail);
    socket.on("data", (data) => {
      answers += data.toString().split('"return"').length - 1;
      if (answers >= lines.length) socket.end();
    });
    socket.on("close", () => {
      if (answers >= lines.length) done();
      else fail(new Error(`${host.name}: QEMU did not answer ${command}`));
    });
    for (const line of lines) socket.write(`${JSON.stringify(line)}\n`);
  });
}
