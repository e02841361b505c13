import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where this user's images and sandboxes live: `lsyncd-as-code/` under `$XDG_CACHE_HOME`, or under ~/.cache. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  // The XDG specification: a relative path is to be ignored.
  const xdg = env.XDG_CACHE_HOME;
  const base = xdg?.startsWith("/") === true ? xdg : join(homedir(), ".cache");
  return resolve(base, "lsyncd-as-code");
}

/** The folder of the cached images. */
export const imagesDir = (): string => join(cacheDir(), "images");

/** The folder of all sandboxes. */
export const sandboxesDir = (): string => join(cacheDir(), "sandboxes");

/** The folder of one sandbox. */
export const sandboxDir = (name: string): string => join(sandboxesDir(), name);

/** A lock file, outside of what it guards, which may be removed while the lock is held. */
export const lockPath = (name: string): string => join(cacheDir(), "locks", `${name}.lock`);
