import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "ssh2";
import { forward } from "../../../../infra/ssh-connect";
import type { Connection, Endpoint } from "../schema";
import { connect, FinalError } from "./connect";

/** The pause after the first failed try, how it grows, and where it stops, in milliseconds: as the official plugin waits. */
const PAUSE = { first: 100, factor: 1.5, longest: 5000 };

export interface DialOptions {
  signal: AbortSignal;
  /** Called after each failed attempt that is followed by another. */
  onRetry: (message: string) => void;
}

/**
 * Connects to the host. Tries again as often as dialErrorLimit says; errors name the host. The connection stays open until
 * this process ends, as the official plugin's does: a host must bear it.
 */
export async function dial(connection: Connection, options: DialOptions): Promise<Client> {
  const { proxy } = connection;
  if (proxy === undefined) return retrying(connection, options, () => connect(connection, options.signal));
  const bastion = await retrying(proxy, options, () => connect(proxy, options.signal));
  return retrying(connection, options, async () =>
    connect(connection, options.signal, await forward(bastion, connection)),
  );
}

async function retrying<T>(endpoint: Endpoint, options: DialOptions, attempt: () => Promise<T>): Promise<T> {
  const { dialErrorLimit: limit } = endpoint;
  const name = `${endpoint.user}@${endpoint.host}:${endpoint.port}`;
  for (let failures = 1, pause = PAUSE.first; ; failures++, pause = Math.min(pause * PAUSE.factor, PAUSE.longest)) {
    try {
      return await attempt();
    } catch (error) {
      const { message } = error as Error;
      if (options.signal.aborted || error instanceof FinalError) throw new Error(`${name}: ${message}`);
      if (limit >= 0 && failures > limit) throw new Error(`${name}: after ${failures} failed attempts: ${message}`);
      options.onRetry(`Dial ${failures}/${limit < 0 ? "inf" : limit} failed: retrying (${name}: ${message})`);
    }
    await sleep(pause, undefined, { signal: options.signal }).catch(() => {
      throw new Error(`${name}: ${(options.signal.reason as Error).message}`);
    });
  }
}
