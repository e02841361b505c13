import { createHash } from "node:crypto";
import type { Duplex } from "node:stream";
import type { Client, ClientChannel, ConnectConfig } from "ssh2";
import type { Connection, Endpoint } from "./connection";

/** What a command on a host left behind. */
export interface RemoteResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** The host could not be reached, or nobody could log in. Nothing ran on it. */
export class Unreachable extends Error {}

// Seconds to reach a host and log in: as long as one try of a remote command.
const readyTimeout = 15;

/** A command that runs on a host. */
export interface RemoteCommand {
  channel: ClientChannel;
  /** Closes the connection, and the one to the bastion. */
  close: () => void;
}

/** Connects to a host and starts a command there. Throws Unreachable when it could not begin. */
export async function startRemote(connection: Connection, command: string): Promise<RemoteCommand> {
  const { proxy } = connection;
  const bastion = proxy && (await connect(proxy, "the bastion "));
  try {
    const client = await connect(connection, "", bastion && (await forward(bastion, connection)));
    const close = (): void => {
      client.end();
      bastion?.end();
    };
    const channel = await new Promise<ClientChannel>((resolve, reject) => {
      client.exec(command, (error, opened) => {
        if (error) reject(new Unreachable(error.message));
        else resolve(opened);
      });
    });
    // A command that ends without reading its input is judged by its exit code.
    channel.on("error", () => undefined);
    return { channel, close };
  } catch (error) {
    bastion?.end();
    throw error;
  }
}

/**
 * Runs one command on a host over a connection of its own, for what the program does outside of resources. Throws
 * Unreachable when it could not begin, and an error when it did not end within `seconds`, if given.
 */
export async function runRemote(
  connection: Connection,
  command: string,
  stdin: string,
  seconds?: number,
): Promise<RemoteResult> {
  const { channel, close } = await startRemote(connection, command);
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<RemoteResult>((resolve, reject) => {
      const result: RemoteResult = { code: -1, stdout: "", stderr: "" };
      channel.setEncoding("utf8").on("data", (text: string) => (result.stdout += text));
      channel.stderr.setEncoding("utf8").on("data", (text: string) => (result.stderr += text));
      channel.on("exit", (status: number | null) => (result.code = status ?? 255));
      channel.on("close", () => {
        if (result.code >= 0) resolve(result);
        else reject(new Error("the connection was closed before the command ended"));
      });
      if (seconds !== undefined) {
        timer = setTimeout(() => {
          reject(new Error(`no answer within ${String(seconds)} s`));
        }, seconds * 1000);
      }
      channel.end(stdin);
    });
  } finally {
    clearTimeout(timer);
    close();
  }
}

/** A stream through a bastion to a host. */
async function forward(bastion: Client, { host, port }: Endpoint): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    bastion.forwardOut("127.0.0.1", 0, host, port, (error, stream) => {
      if (error) reject(new Unreachable(`the bastion cannot reach ${host} port ${String(port)}: ${error.message}`));
      else resolve(stream);
    });
  });
}

async function connect(to: Endpoint, who: string, sock?: Duplex): Promise<Client> {
  // Loaded late: a run that looks at no host by itself should not pay for it.
  const ssh2 = await import("ssh2");
  const client: Client = new ssh2.Client();
  return new Promise<Client>((resolve, reject) => {
    let refusal = "";
    const fail = (error: Error): void => {
      client.destroy();
      reject(new Unreachable(`${who}${to.user}@${to.host} port ${String(to.port)}: ${refusal || error.message}`));
    };
    client.on("error", (error) => {
      // An agent that does not answer is one way less to log in, not the end.
      if ("level" in error && error.level === "agent") refusal = "the ssh-agent of SSH_AUTH_SOCK does not answer";
      else fail(error);
    });
    client.on("close", () => {
      fail(new Error("the host closed the connection"));
    });
    client.on("keyboard-interactive", (_name, _text, _language, prompts, answer) => {
      answer(prompts.map(() => to.password ?? ""));
    });
    client.on("ready", () => {
      resolve(client);
    });
    try {
      client.connect({
        ...credentials(to),
        host: to.host,
        port: to.port,
        readyTimeout: readyTimeout * 1000,
        keepaliveInterval: 15_000,
        keepaliveCountMax: 8,
        hostVerifier: (shown: Buffer) => {
          if (shown.toString("base64") === to.hostKey.split(" ")[1]) return true;
          refusal =
            `its key ${fingerprint(shown)} is not the one that is known ` +
            `(${fingerprint(Buffer.from(to.hostKey.split(" ")[1] ?? "", "base64"))}): another machine answers, or it was set up anew`;
          return false;
        },
        algorithms: { serverHostKey: keyAlgorithms(to.hostKey.split(" ")[0] ?? "") },
        ...(sock === undefined ? {} : { sock }),
      } as ConnectConfig);
    } catch (error) {
      // ssh2 throws for a private key that it cannot read.
      fail(error as Error);
    }
  });
}

/** Tried in the order of the remote commands: private key, password, and the agent only without a private key. */
function credentials({ user, privateKey, privateKeyPassword, password }: Endpoint): ConnectConfig {
  const agent = process.env.SSH_AUTH_SOCK ?? "";
  const methods = [
    ...(privateKey === undefined ? [] : ["publickey" as const]),
    ...(password === undefined ? [] : (["password", "keyboard-interactive"] as const)),
    ...(privateKey === undefined && agent !== "" ? ["agent" as const] : []),
  ];
  if (methods.length === 0) {
    throw new Error("there is nothing to log in with: set lsyncd:privateKey or lsyncd:password, or start an ssh-agent");
  }
  return {
    username: user,
    authHandler: methods,
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(privateKeyPassword === undefined ? {} : { passphrase: privateKeyPassword }),
    ...(password === undefined ? {} : { password, tryKeyboard: true }),
    ...(agent === "" ? {} : { agent }),
  };
}

/** A key's fingerprint as ssh-keygen -l shows it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** The signature algorithms that go with a key type: an RSA key signs with SHA-2 (RFC 8332). */
function keyAlgorithms(type: string): string[] {
  return type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type];
}
