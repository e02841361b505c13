/** `npm run sandbox`: real Debian hosts to deploy to, on this machine. */
import { spawnSync } from "node:child_process";
import { defaultName, readArguments, UsageError, type Wish } from "./arguments";
import { isRunning } from "./running";
import { listSandboxes, sandboxDown, sandboxUp } from "./sandbox";
import { sshArgs } from "./ssh";
import { sandboxNames } from "./state";
import type { Sandbox, SandboxHost } from "./types";

const usage = `Debian hosts under systemd-nspawn, each with sshd and two ext4 volumes at /mnt/storage_do_1 and /mnt/storage_do_2.

  npm run sandbox -- up [--name NAME] [--hosts N] [--release bookworm|trixie]
      make a sandbox, or boot and extend the one there is
  npm run sandbox -- down [--name NAME | --all]
      remove a sandbox and everything it left on this machine
  npm run sandbox -- list
      show the sandboxes and their hosts
  npm run sandbox -- ssh [--name NAME] HOST [COMMAND…]
      open a shell on a host, or run a command there

NAME is "sandbox" unless told. Hosts are called sqlite-1, sqlite-2, …`;

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
      : `There is no sandbox "${sandboxName}". Make it: npm run sandbox -- up`,
  );
}

async function fulfil(wish: Wish): Promise<number> {
  switch (wish.action) {
    case "help":
      console.log(usage);
      return 0;
    case "up": {
      const sandbox = await sandboxUp({ ...wish, log });
      console.log(describe(sandbox));
      const named = wish.name === defaultName ? "" : `--name ${wish.name} `;
      console.log(`Log in: npm run sandbox -- ssh ${named}sqlite-1`);
      return 0;
    }
    case "down":
    case "down all": {
      const names =
        wish.action === "down" ? [wish.name].filter((name) => sandboxNames().includes(name)) : sandboxNames();
      for (const name of wish.action === "down" ? [wish.name] : names) await sandboxDown(name, log);
      console.log(names.length === 0 ? "There was no such sandbox" : `Removed ${names.join(", ")}`);
      return 0;
    }
    case "list":
      console.log(listSandboxes().map(describe).join("\n") || "There is no sandbox");
      return 0;
    case "ssh": {
      const [ssh = "ssh", ...args] = sshArgs(findHost(wish.name, wish.host));
      return spawnSync(ssh, [...args, ...wish.command], { stdio: "inherit" }).status ?? 1;
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
