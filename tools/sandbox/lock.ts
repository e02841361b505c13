import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

/** Releases a lock. */
export type Unlock = () => Promise<void>;

/**
 * Takes an exclusive lock on a file, with flock(1): the kernel releases it when this process dies for any reason.
 * `wait: false` returns undefined at once if another process holds it.
 */
export async function takeLock(path: string, options: { wait: boolean }): Promise<Unlock | undefined> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // cat exits and releases the lock when our end of its standard input closes.
  const child = spawn("flock", [...(options.wait ? [] : ["-n"]), path, "sh", "-c", "echo locked; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
    // Not in our process group: Ctrl-C must not release the lock while its holder still cleans up.
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

/** Runs `work` while holding the lock on a file. If another process holds it, `onWait` is called once; there is no time limit. */
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
