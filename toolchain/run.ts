import { spawn, type SpawnOptions } from "node:child_process";

/** The result of a child process. */
export interface Finished {
  code: number;
  stdout: string;
  stderr: string;
}

/** How to run a child process. */
export interface RunOptions extends SpawnOptions {
  /** Text for its standard input; none means /dev/null. */
  input?: string;
  /** Do not throw on a non-zero exit code. */
  allowFailure?: boolean;
  /** Show its output on this process's stderr while it runs, as well as returning it. */
  echo?: boolean;
}

/**
 * Runs a program with an argument list (no shell) and returns its exit code and output.
 * Throws if it cannot be started, and on a non-zero exit code unless `allowFailure` is set.
 */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<Finished> {
  const { input, allowFailure, echo, ...spawnOptions } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...spawnOptions,
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => {
      out.push(chunk);
      if (echo) process.stderr.write(chunk);
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      err.push(chunk);
      if (echo) process.stderr.write(chunk);
    });
    // If a child exits without reading its input, its exit code counts, not the broken pipe.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
    child.on("error", reject);
    child.on("close", (status, signal) => {
      const finished = {
        code: status ?? 128,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      };
      if (finished.code === 0 || allowFailure) resolve(finished);
      else {
        const why = signal ? `was killed by ${signal}` : `exited with ${finished.code}`;
        const tail = `${finished.stdout}\n${finished.stderr}`.trim().split("\n").slice(-40).join("\n");
        reject(new Error(`${command} ${args.join(" ")} ${why}:\n${tail}`));
      }
    });
  });
}
