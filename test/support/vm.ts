import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { paths } from "../../infra/paths";
import { run, type Finished } from "../../toolchain/run";
import { execOn, type ExecOptions, type Release } from "../../tools/sandbox";
import type { LossMode } from "../../tools/sandbox/vm/disk";
import { cutDisks, failDisk } from "../../tools/sandbox/vm/process";
import { vmSandboxDown, vmSandboxUp } from "../../tools/sandbox/vm/sandbox";
import { passphrase, vmVolumes, type FileSystem, type VmHost } from "../../tools/sandbox/vm/types";
import { Stack, type Extra } from "../../tools/stack";
import { eventually, succeeded } from "./deployment";

// A virtual machine and a stack for one test file. The machine is emulated, so its speed depends on the load of this machine.

const minute = 60_000;

/** Timeout of a test on a virtual machine, in milliseconds. */
export const testMs = 45 * minute;

/** How long to wait for the mirror's own actions, in seconds: a start of lsyncd has taken three minutes. */
const longestSeconds = 600;

const source = "/mnt/storage_do_1";
const target = "/mnt/storage_do_2";

/** A virtual machine with the program deployed to it, or about to be. */
export interface VmDeployment {
  host: VmHost;
  stack: Stack;
  /** Runs a shell command and returns what it printed, without the last newline. */
  on: (command: string, options?: ExecOptions) => Promise<string>;
  /** The same for a command that may fail; returns all its output. */
  attempt: (command: string) => Promise<Finished>;
  /** Sets the stack's settings and deploys. */
  deploy: (settings?: Extra) => Promise<void>;
  /** Boots it when it is off, and opens and mounts both volumes. */
  up: () => Promise<void>;
  /** One of the commands of cli/, as an operator runs it. */
  cli: (command: string, ...args: string[]) => Promise<Finished>;
  /** Waits until the condition holds. */
  until: (what: string, condition: () => Promise<boolean>, seconds?: number) => Promise<void>;
  /** Waits until the host has undone a deployment that was interrupted. One that had not begun to change the host may have left files. */
  undone: () => Promise<void>;
  /** Writes a file of the source, and waits until it has arrived in the mirror. */
  mirrors: (path?: string) => Promise<void>;
  /** Runs the monitor and returns its lines. */
  monitor: () => Promise<string>;
  /** Waits until both volumes hold the same, by content. Returns the seconds that took. */
  identical: () => Promise<number>;
  remove: () => Promise<void>;
}

let count = 0;

/** The sandbox of a kept machine, made with `npm run sandbox -- up --vm --name NAME`: tests then use and keep it. */
const kept = process.env.LSYNCD_VM;

/** Makes a virtual machine and an empty stack for it. */
export async function prepareVm(options: { release?: Release; fileSystem?: FileSystem } = {}): Promise<VmDeployment> {
  const name = kept ?? `vm-${String(process.pid)}-${String((count += 1))}`;
  const log = (line: string): void => {
    process.stderr.write(`${name}: ${line}\n`);
  };
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-vm-"));
  const boot = async (): Promise<VmHost> => {
    const [first] = await vmSandboxUp({ name, log, ...options, ...(kept === undefined ? { owner: process.pid } : {}) });
    if (!first) throw new Error("the sandbox has no machine");
    return first;
  };
  const host = await boot();
  // Removes what an earlier run has deployed to a kept machine.
  if (kept !== undefined) await execOn(host, "rm -f /var/lib/lsyncd-as-code/id");
  const stack = await new Stack({ name, directory }).init();
  const on = async (command: string, more: ExecOptions = {}): Promise<string> =>
    (await execOn(host, command, { timeoutMs: 10 * minute, ...more })).stdout.trimEnd();
  const until: VmDeployment["until"] = async (what, condition, seconds = longestSeconds) => {
    await eventually(condition, seconds, async () => `${what}\n${await diagnosis(on)}`);
  };
  const attempt = (command: string): Promise<Finished> =>
    execOn(host, command, { timeoutMs: 10 * minute, allowFailure: true });
  return {
    host,
    stack,
    on,
    attempt,
    deploy: async (settings = {}) => {
      await stack.configure([host], { requireEncryption: true, ...settings });
      succeeded(await stack.up());
    },
    up: async () => {
      await boot();
    },
    cli: (command, ...args) =>
      run(
        process.execPath,
        ["toolchain/bootstrap.mjs", `cli/${command}.ts`, "--stack", name, "--config-file", stack.configFile, ...args],
        { cwd: resolve(__dirname, "../.."), env: stack.environment(), allowFailure: true },
      ),
    until,
    undone: () =>
      until(
        "no transaction is under way",
        async () => (await attempt(`test -e ${paths.stateDirectory}/transaction/phase`)).code !== 0,
      ),
    mirrors: async (path = "alive") => {
      const token = String(Math.random());
      await on(`echo ${token} >${source}/${path}`);
      await until(`${path} arrives`, async () => (await attempt(`cat ${target}/${path}`)).stdout.trim() === token);
    },
    monitor: async () => (await attempt("/usr/local/bin/lsyncd-monitor.sh")).stdout,
    identical: async () => {
      const began = Date.now();
      // By the host's own program first; then nothing may differ, or not for long where the mirror was held.
      await execOn(host, `lsyncd-wait --timeout ${longestSeconds}`, { timeoutMs: 20 * minute, allowFailure: true });
      await until("source and target differ", async () => (await on(differences, { allowFailure: true })) === "");
      return Math.round((Date.now() - began) / 1000);
    },
    remove: async () => {
      if (kept === undefined) await vmSandboxDown(name);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Prints what differs between the volumes, by content, and nothing when nothing does. */
const differences = `diff -rq --no-dereference -x lost+found -x .lsyncd-as-code -x '.lsyncd-wait.*' -x .lsyncd-monitor-probe -x '*-shm' ${source} ${target} 2>&1`;

const diagnosis = (on: VmDeployment["on"]): Promise<string> =>
  on(`${differences} | head -n 20; systemctl status lsyncd --no-pager -n 20; uptime`, { allowFailure: true });

/** Settings of a stack whose alerts go to the server of startMailServer. */
export const mailSettings = {
  alertRecipients: ["ops@example.org"],
  smtp: { host: "127.0.0.1", port: 2525, from: "lsyncd@example.org", tls: "off" },
};

/** Where that server stores the mails, one after the other. */
export const mailFile = "/root/mail";

/** Starts a mail server on the machine. */
export async function startMailServer({ on }: Pick<VmDeployment, "on">): Promise<void> {
  await on(`cat >/root/server.py <<'PY'
import asyncore, smtpd
class Server(smtpd.SMTPServer):
    def process_message(self, peer, sender, to, data, **more):
        open("${mailFile}", "ab").write(data + b"\\n")
Server(("127.0.0.1", 2525), None)
asyncore.loop()
PY
systemd-run --quiet --collect --unit=mail-server python3 -W ignore /root/server.py`);
}

/**
 * The power of both data disks fails under whatever uses them, and comes back: what they had not flushed is lost as the mode says, and
 * the kernel forgets all of them. These units are killed with them. Both volumes are closed then.
 */
export async function cutVolumes(
  { host, on }: Pick<VmDeployment, "host" | "on">,
  mode: LossMode,
  seed: number,
  units: string[],
): Promise<string> {
  const answer = await cutDisks(host, ["source", "target"], mode, seed);
  const lines = units.flatMap((unit) => [`systemctl kill -s KILL ${unit}`, `systemctl stop ${unit}`]);
  for (const { mapper, mountpoint } of Object.values(vmVolumes))
    lines.push(
      `for i in $(seq 100); do umount ${mountpoint}; mountpoint -q ${mountpoint} || break; sleep 0.3; done`,
      `for i in $(seq 100); do cryptsetup close ${mapper}; [ -e /dev/mapper/${mapper} ] || break; sleep 0.3; done`,
      `[ ! -e /dev/mapper/${mapper} ] || exit 1`,
    );
  // An alert may still write there.
  lines.push("for i in $(seq 100); do rm -rf /run/lsyncd-as-code && break; sleep 0.3; done");
  await on(lines.join("\n"));
  for (const name of ["source", "target"] as const) await failDisk(host, name, "none");
  return answer;
}

/** Opens both LUKS volumes and mounts neither. */
export async function openVolumes({ on }: Pick<VmDeployment, "on">): Promise<void> {
  for (const { device, mapper } of Object.values(vmVolumes))
    await on(
      `[ -e /dev/mapper/${mapper} ] || printf %s ${passphrase} | cryptsetup open --key-file=- ${device} ${mapper}`,
    );
}
