import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

/** Gives a lock back. */
export type Release = () => Promise<void>;

/**
 * Takes an exclusive lock on a file, by way of flock(1): the kernel gives it back when this process dies, however it dies.
 * `wait: false` returns undefined at once when somebody else has it.
 */
export async function takeLock(path: string, options: { wait: boolean }): Promise<Release | undefined> {
  mkdirSync(dirname(path), { recursive: true });
  // cat ends, and the lock with it, when our end of its standard input closes.
  const child = spawn("flock", [...(options.wait ? [] : ["-n"]), path, "sh", "-c", "echo locked; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
    // Not in our process group: Ctrl-C must not take the lock away while we are still cleaning up.
    detached: true,
  });
  const closed = new Promise<void>((done) =>
    child.once("close", () => {
      done();
    }),
  );
  const locked = await new Promise<boolean>((done, fail) => {
    child.once("error", fail);
    child.stdout.once("data", () => {
      done(true);
    });
    child.once("close", () => {
      done(false);
    });
  });
  if (!locked) return undefined;
  return async () => {
    child.stdin.end();
    await closed;
  };
}

/** Runs `work` while holding the lock on a file, waiting for it as long as it takes. */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const release = await takeLock(path, { wait: true });
  if (!release) throw new Error(`${path} could not be locked; flock said why above`);
  try {
    return await work();
  } finally {
    await release();
  }
}
