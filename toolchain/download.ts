import { spawn } from "node:child_process";

export interface DownloadOptions {
  env: NodeJS.ProcessEnv;
  /** Seconds until it must have shown more than `greeting` characters of output. */
  timeout: number;
  /** Number of characters that it prints before it connects. */
  greeting: number;
  /** Seconds until it must be done. */
  limit: number;
}

/**
 * Runs a publisher's downloader, without a terminal and with time limits: some networks silently drop what they block.
 * Resolves with undefined on success, otherwise with the reason in one line.
 */
export async function download(
  command: string,
  args: string[],
  { env, timeout, greeting, limit }: DownloadOptions,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    // In its own process group, so that its child processes are killed with it.
    const child = spawn(command, args, { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let overdue: string | undefined;
    const stop = (reason: string): void => {
      overdue ??= reason;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has already exited.
      }
    };
    const timers = [
      setTimeout(() => {
        if (output.length <= greeting) stop(`no answer within ${timeout} s`);
      }, timeout * 1000),
      setTimeout(() => {
        stop(`not done within ${limit} s`);
      }, limit * 1000),
    ];
    // Outside our process group, it would survive a Ctrl-C.
    const onSignal = (signal: NodeJS.Signals): void => {
      stop("interrupted");
      process.kill(process.pid, signal);
    };
    process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    }
    const settle = (reason: string | undefined): void => {
      timers.forEach(clearTimeout);
      process.removeListener("SIGINT", onSignal).removeListener("SIGTERM", onSignal);
      resolve(reason);
    };
    child.on("error", (error) => {
      settle(error.message);
    });
    child.on("close", (code) => {
      if (overdue !== undefined) settle(overdue);
      else settle(code === 0 ? undefined : lastLine(output));
    });
  });
}

/** The result of a download as text. */
export function downloadEnding(reason: string | undefined): string {
  return reason === undefined ? "done" : `not possible here, ${reason}`;
}

function lastLine(output: string): string {
  return output.trim().split("\n").at(-1)?.trim() ?? "no reason given";
}
