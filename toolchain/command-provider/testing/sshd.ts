import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, rmdirSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer, connect } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensurePrograms } from "../../programs";
import { run } from "../../run";

/** Debian's place for the SSH server, which is not on everyone's PATH. */
const SSHD = "/usr/sbin/sshd";

/** The folder sshd wants when it runs as root; on a booted machine the init system makes it. */
const PRIVILEGE_SEPARATION = "/run/sshd";

/** An OpenSSH server of our own: keys, settings and log in a temporary folder, on a loopback address and a high port. */
export interface Sshd {
  addresses: string[];
  port: number;
  /** The host's public key, one authorized_keys line. */
  hostKey: string;
  user: string;
  /** The private key it lets in, and the file that holds it. */
  privateKey: string;
  privateKeyFile: string;
  start: () => Promise<void>;
  stop: () => Promise<void>;
  log: () => string;
}

/** A command's connection to a server; one retry, so that what must fail fails soon. */
export function connectionTo(sshd: Sshd, changes: Partial<Record<string, unknown>> = {}): Record<string, unknown> {
  const { addresses, port, user, hostKey, privateKey } = sshd;
  return { host: addresses[0], port, user, hostKey, privateKey, dialErrorLimit: 1, ...changes };
}

/**
 * Prepares a server below `folder`; `start` makes it listen. `settings` are further lines of sshd_config, and `keyType` is
 * what its host key is made with.
 */
export async function prepareSshd(
  folder: string,
  addresses: string[],
  settings: string[] = [],
  keyType = "ed25519",
): Promise<Sshd> {
  await ensurePrograms(["sshd"], (line) => process.stderr.write(`sshd: ${line}\n`));
  const place = await mkdtemp(join(folder, "sshd-"));
  const at = (name: string): string => join(place, name);
  await makeKey(at("host_key"), "", keyType);
  await makeKey(at("client_key"));
  const port = await freePort(addresses[0] ?? "127.0.0.1");
  const config = [
    ...addresses.map((address) => `ListenAddress ${address}:${port}`),
    `HostKey ${at("host_key")}`,
    `AuthorizedKeysFile ${at("client_key.pub")}`,
    "PidFile none",
    "StrictModes no",
    "UsePAM no",
    "PermitRootLogin yes",
    "PasswordAuthentication no",
    "MaxStartups 300:30:300",
    // Of several lines for one setting, sshd takes the first.
    ...settings,
    "LogLevel VERBOSE",
    // A shell that sshd starts reads ~/.bashrc, and what that prints would be taken for the command's.
    `SetEnv HOME=${place}`,
  ];
  await writeFile(at("sshd_config"), `${config.join("\n")}\n`);

  let server: ChildProcess | undefined;
  let madeFolder = false;
  return {
    addresses,
    port,
    hostKey: readFileSync(at("host_key.pub"), "utf8").trim(),
    user: userInfo().username,
    privateKey: readFileSync(at("client_key"), "utf8"),
    privateKeyFile: at("client_key"),
    log: () => readFileSync(at("log"), "utf8"),
    start: async () => {
      if (process.getuid?.() === 0 && !existsSync(PRIVILEGE_SEPARATION)) {
        mkdirSync(PRIVILEGE_SEPARATION, { mode: 0o755 });
        madeFolder = true;
      }
      const log = openSync(at("log"), "a");
      server = spawn(SSHD, ["-D", "-e", "-f", at("sshd_config")], { stdio: ["ignore", log, log] });
      for (const address of addresses) await listening(address, port, server, () => readFileSync(at("log"), "utf8"));
    },
    stop: async () => {
      if (server?.exitCode === null) {
        const gone = new Promise((resolve) => server?.once("exit", resolve));
        server.kill();
        await gone;
      }
      if (madeFolder) rmdirSync(PRIVILEGE_SEPARATION);
    },
  };
}

/** Makes a key pair without a passphrase: `path` and `path`.pub. */
export async function makeKey(path: string, passphrase = "", type = "ed25519"): Promise<void> {
  await run("ssh-keygen", ["-q", "-t", type, "-N", passphrase, "-C", "conformance", "-f", path]);
}

/** A TCP port nobody listens on at this address. */
export async function freePort(address: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, address, resolve);
  });
  const bound = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (bound === null || typeof bound === "string") throw new Error(`no port on ${address}`);
  return bound.port;
}

async function listening(address: string, port: number, server: ChildProcess, log: () => string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (server.exitCode !== null) throw new Error(`sshd ended:\n${log()}`);
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, address);
      socket.once("connect", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => {
        resolve(false);
      });
    });
    if (open) return;
    await sleep(50);
  }
  throw new Error(`sshd does not listen on ${address}:${port}:\n${log()}`);
}
