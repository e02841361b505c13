import type { Client } from "ssh2";

/** An environment variable to set on the host before the command runs. */
export interface Variable {
  name: string;
  value: string;
  /** When the host refuses it: run the command all the same. */
  optional: boolean;
}

/** The parts of ssh2 1.17.0 used below that it does not declare. */
interface Internals {
  _protocol: {
    exec: (channel: number, command: string, wantReply: boolean) => void;
    env: (channel: number, name: string, value: string, wantReply: boolean) => void;
  };
  _chanMgr: { get: (channel: number) => Channel | undefined };
}
interface Channel {
  /** Called in order, one for each reply of the host; true means refused. */
  _callbacks: ((refused: boolean) => void)[];
}

/**
 * Makes the client's next exec set these variables first, and run the command only when the host has accepted them.
 * ssh2 can send variables, but never asks the host whether it takes them (AcceptEnv), so that a command would run
 * without them and unnoticed. `onRefused` is called for each refused variable.
 */
export function setBeforeExec(client: Client, variables: Variable[], onRefused: (variable: Variable) => void): void {
  if (variables.length === 0) return;
  const { _protocol: protocol, _chanMgr: channels } = client as unknown as Internals;
  const exec = protocol.exec.bind(protocol);
  protocol.exec = (id, command, wantReply) => {
    protocol.exec = exec;
    const channel = channels.get(id);
    if (channel === undefined) return;
    let pending = variables.length;
    let refused = false;
    const callbacks = variables.map((variable) => (no: boolean): void => {
      pending -= 1;
      if (no) {
        onRefused(variable);
        refused ||= !variable.optional;
      }
      if (pending > 0) return;
      if (refused) channel._callbacks.shift()?.(true);
      else exec(id, command, wantReply);
    });
    // The reply to exec itself is already waited for, and comes last.
    channel._callbacks.unshift(...callbacks);
    for (const { name, value } of variables) protocol.env(id, name, value, true);
  };
}
