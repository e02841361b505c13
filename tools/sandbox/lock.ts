import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

/** Gives a lock back. */
export type Unlock = () => Promise<void>;

/**
 * Takes an exclusive lock on a file, by way of flock(1): the kernel gives it back when this process dies, however it dies.
 * `wait: false` returns undefined at once when somebody else has it.
 */
export async function takeLock(path: string, options: { wait: boolean }): Promise<Unlock | undefined> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // cat ends, and the lock with it, when our end of its standard input closes.
  const child = spawn("flock", [...(options.wait ? [] : ["-n"]), path, "sh", "-c", "echo locked; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
    // Not in our process group: Ctrl-C must not take the lock away while its holder still cleans up.
    detached: true,
  });
  const closed = new Promise<void>((done) => {
    child.once("close", () => {
      done();
    });
  });
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

/** Runs `work` while holding the lock on a file. `onWait` is called once when somebody else has it; then it waits as long as it takes. */
export async function withLock<T>(path: string, onWait: () => void, work: () => Promise<T>): Promise<T> {
  let unlock = await takeLock(path, { wait: false });
  if (!unlock) {
    onWait();
    unlock = await takeLock(path, { wait: true });
  }
  if (!unlock) throw new Error(`${path} can't be locked`);
  try {
    return await work();
  } finally {
    await unlock();
  }
}
