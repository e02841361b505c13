/** `npm run sandbox`: real Debian hosts to deploy to, on this machine. */
import { spawnSync } from "node:child_process";
import { defaultName, readArguments, UsageError, type Options } from "./arguments";
import { isRunning } from "./running";
import { listSandboxes, sandboxDown, sandboxUp } from "./sandbox";
import { sshArgs } from "./ssh";
import { reboot } from "./machine";
import { sandboxNames } from "./state";
import { lock, rebootVm, unlock } from "./vm/host";
import { cutPower, failDisk, isOn } from "./vm/process";
import { vmHostsOf, vmSandboxDown, vmSandboxNames, vmSandboxUp } from "./vm/sandbox";
import type { VmHost } from "./vm/types";
import type { Sandbox, SandboxHost } from "./types";

const usage = `Manage Debian hosts on this machine: containers with sshd and two ext4 volumes at /mnt/storage_do_1 and /mnt/storage_do_2.

Usage:
  npm run sandbox -- up [--name NAME] [--hosts N] [--release bookworm|trixie]
      create a sandbox, or boot and extend an existing one
  npm run sandbox -- up --vm [--name NAME] [--hosts N] [--release bookworm|trixie] [--filesystem ext4|xfs|btrfs]
      the same with virtual machines, which have their own kernel and LUKS volumes; emulated, therefore slow
  npm run sandbox -- down [--name NAME | --all]
      remove a sandbox with all its traces on this machine
  npm run sandbox -- list
      list the sandboxes and their hosts
  npm run sandbox -- ssh [--name NAME] HOST [COMMAND…]
      open a shell on a host, or run a command there
  npm run sandbox -- reboot [--name NAME] HOST
      reboot a host

Virtual machines only:
  npm run sandbox -- unlock HOST [1|2]    open and mount both volumes, or the source (1) or the target (2)
  npm run sandbox -- lock HOST [1|2]      unmount and close them
  npm run sandbox -- cut HOST [drop|keep|random] [SEED]
      cut the power; drop, keep or randomly keep writes that were not flushed; boot it again with up
  npm run sandbox -- fail HOST source|target read|write|none
      make a disk return I/O errors (none: stop that)

NAME defaults to "sandbox", or "vm" for virtual machines. Hosts are named sqlite-1, sqlite-2, …`;

const log = (line: string): void => {
  console.error(line);
};

function describe(sandbox: Sandbox): string {
  const hosts = sandbox.hosts.map(
    (host) =>
      `  ${host.name.padEnd(12)}${(isRunning(host) ? "running" : "off").padEnd(9)}${host.address} port ${host.port}`,
  );
  return [`${sandbox.name} (Debian ${sandbox.release}), keys in ${sandbox.dir}`, ...hosts].join("\n");
}

function findHost(sandboxName: string, name: string): SandboxHost {
  const sandbox = listSandboxes().find((known) => known.name === sandboxName);
  const host = sandbox?.hosts.find((known) => known.name === name);
  if (host) return host;
  throw new UsageError(
    sandbox
      ? `Sandbox ${sandboxName} has no host "${name}", it has: ${sandbox.hosts.map((known) => known.name).join(", ")}`
      : `There is no sandbox "${sandboxName}". Create it: npm run sandbox -- up`,
  );
}

function describeVms(name: string, hosts: VmHost[]): string {
  const lines = hosts.map(
    (host) =>
      `  ${host.name.padEnd(12)}${(isOn(host) ? "running" : "off").padEnd(9)}${host.address} port ${String(host.port)}, ${host.release}, ${host.fileSystem} on LUKS`,
  );
  return [`${name} (virtual machines)`, ...lines].join("\n");
}

const findVm = (sandbox: string, name: string): VmHost | undefined =>
  vmHostsOf(sandbox).find((host) => host.name === name);

function needVm({ name, host }: { name: string; host: string }): VmHost {
  const found = findVm(name, host);
  if (!found)
    throw new UsageError(`There is no virtual machine "${host}" in sandbox "${name}": npm run sandbox -- up --vm`);
  return found;
}

async function fulfil(options: Options): Promise<number> {
  switch (options.action) {
    case "help":
      console.log(usage);
      return 0;
    case "up": {
      const sandbox = await sandboxUp({ ...options, log });
      console.log(describe(sandbox));
      const named = options.name === defaultName ? "" : `--name ${options.name} `;
      console.log(`Log in: npm run sandbox -- ssh ${named}sqlite-1`);
      return 0;
    }
    case "up vm": {
      const hosts = await vmSandboxUp({ ...options, log });
      console.log(describeVms(options.name, hosts));
      return 0;
    }
    case "down":
    case "down all": {
      const known = [...sandboxNames(), ...vmSandboxNames()];
      const names = options.action === "down" ? [options.name].filter((name) => known.includes(name)) : known;
      for (const name of options.action === "down" ? [options.name] : names) {
        if (vmSandboxNames().includes(name)) await vmSandboxDown(name, log);
        if (sandboxNames().includes(name)) await sandboxDown(name, log);
      }
      console.log(names.length === 0 ? "No such sandbox" : `Removed ${names.join(", ")}`);
      return 0;
    }
    case "list":
      console.log(
        [...listSandboxes().map(describe), ...vmSandboxNames().map((name) => describeVms(name, vmHostsOf(name)))].join(
          "\n",
        ) || "There is no sandbox",
      );
      return 0;
    case "reboot": {
      const host = findVm(options.name, options.host);
      if (host) await rebootVm(host, log);
      else await reboot(findHost(options.name, options.host), log);
      return 0;
    }
    case "unlock":
    case "lock":
      for (const volume of options.volumes) await (options.action === "lock" ? lock : unlock)(needVm(options), volume);
      return 0;
    case "cut":
      console.log(`${await cutPower(needVm(options), options.mode, options.seed)} (seed ${String(options.seed)})`);
      return 0;
    case "fail":
      await failDisk(needVm(options), options.volume, options.failing);
      return 0;
    case "ssh": {
      const [ssh = "ssh", ...args] = sshArgs(
        findVm(options.name, options.host) ?? findHost(options.name, options.host),
      );
      return spawnSync(ssh, [...args, ...options.command], { stdio: "inherit" }).status ?? 1;
    }
  }
}

async function main(argv: string[]): Promise<number> {
  try {
    return await fulfil(readArguments(argv));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    if (!(error instanceof UsageError)) return 1;
    console.error("See: npm run sandbox -- --help");
    return 2;
  }
}

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
