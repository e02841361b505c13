import type { Client } from "ssh2";
import type { Connection } from "./connection";

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

/**
 * Runs one command on a host over a connection of its own, for what the program does outside of resources. Throws
 * Unreachable when it could not begin.
 */
export async function runRemote(connection: Connection, command: string, stdin: string): Promise<RemoteResult> {
  // Loaded late: a run that looks at no host by itself should not pay for it.
  const ssh2 = await import("ssh2");
  const expected = connection.hostKey.split(" ")[1] ?? "";
  const client: Client = new ssh2.Client();
  return new Promise<RemoteResult>((resolve, reject) => {
    let began = false;
    const fail = (error: Error) => {
      client.end();
      reject(began ? error : new Unreachable(error.message));
    };
    client.on("error", fail);
    client.on("close", () => {
      fail(new Error("the connection was closed before the command ended"));
    });
    client.on("ready", () => {
      client.exec(command, (error, channel) => {
        if (error) {
          fail(error);
          return;
        }
        began = true;
        let stdout = "";
        let stderr = "";
        let code = 255;
        channel.on("data", (data: Buffer) => (stdout += data.toString()));
        channel.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
        channel.on("exit", (status: number | null) => (code = status ?? 255));
        channel.on("close", () => {
          resolve({ code, stdout, stderr });
          client.end();
        });
        channel.end(stdin);
      });
    });
    client.connect({
      host: connection.host,
      port: connection.port,
      username: connection.user,
      readyTimeout: readyTimeout * 1000,
      hostVerifier: (key: Buffer) => key.toString("base64") === expected,
      algorithms: { serverHostKey: keyAlgorithms(connection.hostKey.split(" ")[0] ?? "") },
      ...(connection.privateKey === undefined
        ? { agent: process.env.SSH_AUTH_SOCK }
        : { privateKey: connection.privateKey }),
    } as Parameters<Client["connect"]>[0]);
  });
}

/** The signature algorithms that go with a key type: an RSA key signs with SHA-2 (RFC 8332). */
function keyAlgorithms(type: string): string[] {
  return type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type];
}
