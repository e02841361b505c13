import type { Duplex } from "node:stream";
import type { AuthenticationType, Client, ConnectConfig } from "ssh2";

// The parts of an SSH connection that the program shares with the fallback plugin. They differ in the rest (docs/decisions/0002-toolchain.md).

/** A server's public key: its type, and what a server shows. */
export interface HostKey {
  type: string;
  blob: Buffer;
}

/** Parses `TYPE BASE64 [COMMENT]`, a line of a .pub file. Throws if the line is something else. */
export function parseHostKey(line: string): HostKey {
  const [type, encoded] = line.trim().split(/\s+/);
  const blob = Buffer.from(encoded ?? "", "base64");
  // The blob starts with the type again, as a length and a string (RFC 4253, 6.6).
  if (type === undefined || blob.length < 8 || blob.subarray(4, 4 + blob.readUInt32BE(0)).toString() !== type) {
    throw new Error(`hostKey must be a public key such as "ssh-ed25519 AAAA…", as in the host's ssh_host_*_key.pub`);
  }
  return { type, blob };
}

/**
 * Interval of keepalive requests, and the number of unanswered ones after which a host counts as gone. A verification prints
 * nothing for hours: a firewall must not drop its connection, and a host that died must not block the run.
 */
export const keepalive = { seconds: 15, unanswered: 8 };

/** Who logs in, and with what. */
export interface Login {
  user: string;
  privateKey?: string;
  privateKeyPassword?: string;
  password?: string;
}

/** The options of ssh2 for that; `agent` is a socket's path. */
export type LoginOptions = ConnectConfig & { authHandler: AuthenticationType[]; agent?: string };

/** The login methods, in the order of the official plugin: private key, password (also for questions of the host), agent. */
export function loginOptions(login: Login, agent?: string): LoginOptions {
  const { user, privateKey, privateKeyPassword, password } = login;
  return {
    username: user,
    authHandler: [
      ...(privateKey === undefined ? [] : ["publickey" as const]),
      ...(password === undefined ? [] : (["password", "keyboard-interactive"] as const)),
      ...(agent === undefined ? [] : ["agent" as const]),
    ],
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(privateKeyPassword === undefined ? {} : { passphrase: privateKeyPassword }),
    ...(password === undefined ? {} : { password, tryKeyboard: true }),
    ...(agent === undefined ? {} : { agent }),
  };
}

/** Answers each question of the host at login with the password. */
export function answerQuestions(client: Client, password = ""): void {
  client.on("keyboard-interactive", (_name, _instructions, _language, prompts, answer) => {
    answer(prompts.map(() => password));
  });
}

/** A stream through a bastion to a host. Rejects with the bastion's reason. */
export async function forward(bastion: Client, { host, port }: { host: string; port: number }): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    bastion.forwardOut("127.0.0.1", 0, host, port, (error, stream) => {
      if (error) reject(new Error(`the bastion cannot reach ${host} port ${String(port)}: ${error.message}`));
      else resolve(stream);
    });
  });
}
