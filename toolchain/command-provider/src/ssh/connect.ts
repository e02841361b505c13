import { connect as connectSocket } from "node:net";
import type { Duplex } from "node:stream";
import type { Client, ConnectConfig } from "ssh2";
import { answerQuestions, keepalive, parseHostKey } from "../../../../infra/ssh-connect";
import { fingerprint } from "../../../../infra/ssh-format";
import type { Endpoint } from "../schema";
import { algorithmsOf, waysIn } from "./strict";

/** An error that a retry cannot fix. */
export class FinalError extends Error {}

/** A TCP connection, within perDialTimeout. */
async function reach({ host, port, perDialTimeout }: Endpoint): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ host, port });
    const limit = setTimeout(() => {
      socket.destroy(new Error(`no connection within ${perDialTimeout} s`));
    }, perDialTimeout * 1000);
    socket.once("error", (error) => {
      clearTimeout(limit);
      reject(error);
    });
    socket.once("connect", () => {
      clearTimeout(limit);
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}

/**
 * Opens one SSH connection, over `via` if given (the way through a bastion). Rejects with a FinalError for a wrong
 * host key or unusable settings, and with the reason of the signal when it aborts. Like the official plugin, it has a time
 * limit for the TCP connection only: it waits forever for a host that accepts the connection and then sends nothing.
 */
export async function connect(endpoint: Endpoint, signal: AbortSignal, via?: Duplex): Promise<Client> {
  // Loaded with the first command that runs: a preview needs no SSH.
  const { Client } = await import("ssh2");
  const expected = unusable(() => parseHostKey(endpoint.hostKey));
  const login = unusable(() => waysIn(endpoint, process.env));
  if (login.agent !== undefined) await requireAgent(login.agent);
  const sock = via ?? (await reach(endpoint));
  const client = new Client();
  let refusal: FinalError | undefined;
  const config: ConnectConfig = {
    ...login,
    keepaliveInterval: keepalive.seconds * 1000,
    keepaliveCountMax: keepalive.unanswered,
    host: endpoint.host,
    port: endpoint.port,
    readyTimeout: 0,
    algorithms: { serverHostKey: algorithmsOf(expected.type) },
    hostVerifier: (presented: Buffer) => {
      if (presented.equals(expected.blob)) return true;
      refusal = new FinalError(
        `host key mismatch: the host shows ${fingerprint(presented)}, but the expected key is ${fingerprint(expected.blob)}. ` +
          "Either the host was reinstalled and you must update hostKey, or another machine answers in its place",
      );
      return false;
    },
    sock,
  };
  answerQuestions(client, endpoint.password);
  return new Promise<Client>((resolve, reject) => {
    const settle = (outcome: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      client.removeListener("ready", onReady).removeListener("error", onError).removeListener("close", onClose);
      // Errors that follow have no receiver left: a lost connection shows in the command that runs over it.
      client.on("error", () => undefined);
      outcome();
    };
    const fail = (error: Error): void => {
      settle(() => {
        client.destroy();
        reject(refusal ?? error);
      });
    };
    const onReady = (): void => {
      settle(() => {
        resolve(client);
      });
    };
    const onAbort = (): void => {
      fail(signal.reason as Error);
    };
    const onError = (error: Error): void => {
      fail(error);
    };
    const onClose = (): void => {
      fail(new Error("the host closed the connection"));
    };
    signal.addEventListener("abort", onAbort);
    client.on("ready", onReady).on("error", onError).on("close", onClose);
    if (signal.aborted) {
      onAbort();
      return;
    }
    try {
      client.connect(config);
    } catch (error) {
      // ssh2 throws for keys it can't read and algorithms it does not have.
      fail(new FinalError((error as Error).message));
    }
  });
}

/** Rejects unless somebody answers at the agent's socket: the official plugin asks it before it connects. */
async function requireAgent(path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connectSocket(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", (error) => {
      reject(new FinalError(`the ssh-agent does not answer: ${error.message}`));
    });
  });
}

/** Turns what is wrong with the settings themselves into a FinalError. */
function unusable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new FinalError((error as Error).message);
  }
}
