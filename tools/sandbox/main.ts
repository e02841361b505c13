/** `npm run sandbox`: real Debian hosts to deploy to, on this machine. */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { isRunning } from "./machine";
import { listSandboxes, sandboxDown, sandboxUp } from "./sandbox";
import { sshArgs } from "./ssh";
import { releases, type Release, type SandboxHost } from "./types";

const usage = `Debian hosts under systemd-nspawn, each with sshd and two ext4 volumes at /mnt/storage_do_1 and /mnt/storage_do_2.

  npm run sandbox -- up [--name NAME] [--hosts N] [--release bookworm|trixie]
      make a sandbox, or boot and extend the one there is
  npm run sandbox -- down [--name NAME | --all]
      remove a sandbox and everything it left on this machine
  npm run sandbox -- list
      show sandboxes, their hosts, and how to log in
  npm run sandbox -- ssh HOST [--name NAME] [-- COMMAND…]
      open a shell on a host, or run a command there

NAME is "sandbox" unless told. Hosts are called sqlite-1, sqlite-2, …
`;

/** A mistake in the command line. */
class UsageError extends Error {}

const log = (line: string): void => {
  console.error(line);
};

const describe = (host: SandboxHost): string =>
  `  ${host.name}  ${host.address} port ${host.port}  ${isRunning(host) ? "running" : "off"}  ${sshArgs(host).join(" ")}`;

function hostCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1)
    throw new UsageError(`--hosts wants a whole number from 1 on, not "${text}"`);
  return count;
}

function releaseOf(text: string): Release {
  const release = releases.find((known) => known === text);
  if (!release) throw new UsageError(`--release wants ${releases.join(" or ")}, not "${text}"`);
  return release;
}

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      name: { type: "string", default: "sandbox" },
      hosts: { type: "string", default: "1" },
      release: { type: "string" },
      all: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [action, ...rest] = positionals;
  if (values.help || action === undefined) {
    console.log(usage);
    return values.help ? 0 : 2;
  }
  if (action !== "ssh" && rest.length > 0) throw new UsageError(`${action} takes no "${rest.join(" ")}"`);
  switch (action) {
    case "up": {
      const release = values.release === undefined ? {} : { release: releaseOf(values.release) };
      const sandbox = await sandboxUp({ name: values.name, hosts: hostCount(values.hosts), ...release, log });
      console.log(`Sandbox ${sandbox.name} (Debian ${sandbox.release}) is up:`);
      for (const host of sandbox.hosts) console.log(describe(host));
      return 0;
    }
    case "down": {
      const names = values.all ? listSandboxes().map((sandbox) => sandbox.name) : [values.name];
      for (const name of names) await sandboxDown(name, log);
      console.log(names.length === 0 ? "There is no sandbox." : `Removed: ${names.join(", ")}`);
      return 0;
    }
    case "list": {
      const sandboxes = listSandboxes();
      if (sandboxes.length === 0) console.log("There is no sandbox.");
      for (const sandbox of sandboxes) {
        console.log(`${sandbox.name} (Debian ${sandbox.release})`);
        for (const host of sandbox.hosts) console.log(describe(host));
      }
      return 0;
    }
    case "ssh": {
      const [name, ...command] = rest;
      const sandbox = listSandboxes().find((known) => known.name === values.name);
      const host = sandbox?.hosts.find((known) => known.name === name);
      if (!host)
        throw new UsageError(`There is no host "${name ?? ""}" in sandbox ${values.name}. npm run sandbox -- list`);
      const [ssh = "ssh", ...args] = sshArgs(host);
      return spawnSync(ssh, [...args, ...command], { stdio: "inherit" }).status ?? 1;
    }
    default:
      throw new UsageError(`Unknown: ${action}`);
  }
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const isUsage = error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
    console.error(error instanceof Error ? error.message : error);
    if (isUsage) console.error("See npm run sandbox -- --help");
    process.exitCode = isUsage ? 2 : 1;
  },
);
