import type { Client } from "ssh2";
import { Captured } from "./captured";
import { setBeforeExec, type Variable } from "./environment";
import { terminate } from "./terminate";

/** A command to run on a host. */
export interface Execution {
  command: string;
  stdin: string;
  variables: Variable[];
}

export interface Listener {
  /** Each piece of output as it comes. */
  onOutput: (stream: "stdout" | "stderr", text: string) => void;
  /** A variable the host does not take. */
  onRefused: (variable: Variable) => void;
}

/** The results of a command. */
export interface Outcome {
  stdout: string;
  stderr: string;
  /** Why it did not succeed; undefined when it exited with 0. */
  failure?: string;
}

/** How long a command may take to clean up after it was asked to end, in milliseconds. */
const GRACE = 10_000;

/**
 * Runs one command. When the signal aborts, the command's process group on the host gets a TERM and has 10 s to
 * clean up. Never rejects for what the command does: see `failure`.
 */
export async function execute(
  client: Client,
  execution: Execution,
  listener: Listener,
  signal: AbortSignal,
): Promise<Outcome> {
  const refused: string[] = [];
  setBeforeExec(client, execution.variables, (variable) => {
    if (!variable.optional) refused.push(variable.name);
    listener.onRefused(variable);
  });
  return new Promise((resolve) => {
    const captured = { stdout: new Captured(), stderr: new Captured() };
    let exit: Exit | undefined;
    let grace: NodeJS.Timeout | undefined;
    let onAbort = (): void => undefined;
    const settle = (failure: string | undefined): void => {
      clearTimeout(grace);
      client.removeListener("close", onLost);
      signal.removeEventListener("abort", onAbort);
      const output = { stdout: captured.stdout.text, stderr: captured.stderr.text };
      const why = failure ?? captured.stdout.fault ?? captured.stderr.fault;
      resolve(why === undefined ? output : { ...output, failure: why });
    };
    const onLost = (): void => {
      settle(
        exit === undefined ? "the connection was lost; the command may still be running on the host" : exit.failure,
      );
    };
    client.once("close", onLost);
    client.exec(execution.command, (error, channel) => {
      if (error !== undefined) {
        const missing = `could not set ${refused.join(", ")}: AcceptEnv in the host's sshd_config does not allow it`;
        settle(refused.length > 0 ? missing : error.message);
        return;
      }
      onAbort = () => {
        terminate(client);
        grace = setTimeout(() => {
          settle(`did not end within ${GRACE / 1000} s of being asked to; it may still be running on the host`);
        }, GRACE);
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort);
      for (const [name, stream] of [
        ["stdout", channel],
        ["stderr", channel.stderr],
      ] as const) {
        stream.on("data", (bytes: Buffer) => {
          listener.onOutput(name, captured[name].add(bytes));
        });
      }
      channel.on("exit", (code: number | null, name?: string) => {
        exit = describeExit(code, name);
      });
      channel.on("close", () => {
        settle(exit === undefined ? "the command ended without an exit status" : exit.failure);
      });
      // A command that ends without reading its input is judged by its exit status.
      channel.on("error", () => undefined);
      channel.end(execution.stdin);
    });
  });
}

interface Exit {
  failure: string | undefined;
}

function describeExit(code: number | null, signal: string | undefined): Exit {
  if (code === 0) return { failure: undefined };
  if (code === null) return { failure: `Process was ended by signal ${signal ?? "unknown"}` };
  return { failure: `Process exited with status ${code}` };
}
