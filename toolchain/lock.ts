import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, rmdir, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** How often the holder renews the lock, in milliseconds. */
const HEARTBEAT = 15_000;

/** A lock that was not renewed for this long is broken, in milliseconds: its holder may be on another machine. */
const LONGEST_SILENCE = 180_000;

/** How often to look whether the lock is free, in milliseconds. */
const RETRY = 500;

/**
 * Runs `work` while holding the lock, a folder at this path. Waits for another holder; `onWait` gets its pid once.
 *
 * The folder holds one file named after its holder. To take the lock is to rename a prepared folder into place, which
 * the system does only over nothing or an empty folder. To give it back, or to break a dead one's lock, is to remove
 * that one file by its name. Neither can hit a lock that someone else has taken in the meantime.
 */
export async function withLock<T>(path: string, onWait: (pid: string) => void, work: () => Promise<T>): Promise<T> {
  const name = ownerName(process.pid);
  await acquire(path, name, onWait);
  const owner = join(path, name);
  const pulse = setInterval(() => {
    const now = new Date();
    utimes(owner, now, now).catch(() => undefined);
  }, HEARTBEAT);
  try {
    return await work();
  } finally {
    clearInterval(pulse);
    await unlink(owner).catch(() => undefined);
    // Fails when the next holder is already in, as it should.
    await rmdir(path).catch(() => undefined);
  }
}

async function acquire(path: string, name: string, onWait: (pid: string) => void): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await sweep(path);
  const prepared = await mkdtemp(`${path}.`);
  await writeFile(join(prepared, name), "");
  let reported = false;
  for (;;) {
    try {
      await rename(prepared, path);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOTEMPTY" && code !== "EEXIST") {
        await rm(prepared, { recursive: true, force: true });
        throw error;
      }
    }
    const holder = await breakIfDead(path);
    if (holder === undefined) continue;
    if (!reported) onWait(holder.split("@")[0] ?? holder);
    reported = true;
    await sleep(RETRY);
  }
}

/** Removes the prepared folders of processes that were killed while they waited. */
async function sweep(path: string): Promise<void> {
  for (const entry of await readdir(dirname(path))) {
    if (!entry.startsWith(`${basename(path)}.`)) continue;
    const prepared = join(dirname(path), entry);
    const owners = await readdir(prepared).catch(() => []);
    if (owners.length > 0 && owners.every(isDead)) await rm(prepared, { recursive: true, force: true });
  }
}

/** The name of the holder, or undefined if the lock is free. */
async function breakIfDead(path: string): Promise<string | undefined> {
  for (const holder of await readdir(path).catch(() => [])) {
    const file = join(path, holder);
    const seen = await stat(file).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    );
    if (seen === undefined) continue;
    if (!isDead(holder) && Date.now() - seen < LONGEST_SILENCE) return holder;
    await unlink(file).catch(() => undefined);
  }
  return undefined;
}

/** PID@HOST@START: the start time distinguishes a process from a later one with the same pid. */
function ownerName(pid: number): string {
  return `${pid}@${hostname()}@${startOf(pid) ?? ""}`;
}

function isDead(holder: string): boolean {
  const [pid, host] = holder.split("@");
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
  return holder !== ownerName(Number(pid));
}

/** When the process started, in the kernel's clock ticks since boot; undefined where there is no /proc. */
function startOf(pid: number): string | undefined {
  try {
    // The 22nd field (proc(5)); the second, the program's name, may hold blanks but ends with the last parenthesis.
    return readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ")[19];
  } catch {
    return undefined;
  }
}
