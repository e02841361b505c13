import { credentials } from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";

/** Shows messages beside a resource in the engine's output. */
export interface Log {
  /** A line of progress, shown while the resource is being worked on. */
  status: (urn: string, message: string) => void;
  /** A warning that stays on the screen. */
  warn: (urn: string, message: string) => void;
  /** Resolves when everything has reached the engine. */
  flush: () => Promise<void>;
}

/** With more messages than this waiting, they are sent together: a chatty command must not slow the deployment down. */
const BACKLOG = 100;

/** The log of the engine at this address. Never fails: a message that can't be delivered is dropped. */
export function engineLog(address: string): Log {
  const client = new EngineClient(address, credentials.createInsecure());
  let waiting: LogRequest[] = [];
  let sending: Promise<void> | undefined;

  const send = async (request: LogRequest): Promise<void> =>
    new Promise((resolve) => {
      // Whether it arrived or not, there is nothing more to do.
      client.log(request, () => {
        resolve();
      });
    });
  const drain = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting.length > BACKLOG ? together(waiting) : waiting;
      waiting = [];
      for (const request of batch) await send(request);
    }
    sending = undefined;
  };
  const add = (urn: string, message: string, severity: LogSeverity, ephemeral: boolean): void => {
    waiting.push(new LogRequest().setUrn(urn).setMessage(message).setSeverity(severity).setEphemeral(ephemeral));
    sending ??= drain();
  };
  return {
    status: (urn, message) => {
      add(urn, message, LogSeverity.INFO, true);
    },
    warn: (urn, message) => {
      add(urn, message, LogSeverity.WARNING, false);
    },
    flush: async () => {
      await sending;
    },
  };
}

/** Joins neighbours that differ only in their text. */
function together(requests: LogRequest[]): LogRequest[] {
  const joined: LogRequest[] = [];
  for (const request of requests) {
    const last = joined.at(-1);
    const alike =
      last?.getUrn() === request.getUrn() &&
      last.getSeverity() === request.getSeverity() &&
      last.getEphemeral() === request.getEphemeral();
    if (last !== undefined && alike) last.setMessage(`${last.getMessage()}\n${request.getMessage()}`);
    else joined.push(request);
  }
  return joined;
}
