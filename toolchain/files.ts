import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { cp, mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";

/** Left in each folder this toolchain has filled itself, to distinguish it from the publisher's. */
const MARKER = "lsyncd-as-code.json";

/** Whether the path is a non-empty file that may be executed. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    const { size } = statSync(path);
    return statSync(path).isFile() && size > 0;
  } catch {
    return false;
  }
}

/** The first executable of this name on PATH. Relative entries do not count, as for the engine. */
export function onPath(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const folders = (env.PATH ?? "").split(":").filter((folder) => isAbsolute(folder));
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The hash of what the folder was made from, or undefined when this toolchain did not make it. */
export function markedHash(folder: string): string | undefined {
  try {
    const marker: unknown = JSON.parse(readFileSync(join(folder, MARKER), "utf8"));
    return typeof marker === "object" && marker !== null && "hash" in marker ? String(marker.hash) : "";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : "";
  }
}

/** The path of a folder's marker, and its content for this hash. */
export function marker(folder: string, hash: string): { path: string; content: string } {
  return { path: join(folder, MARKER), content: `${JSON.stringify({ hash })}\n` };
}

/** Puts the folder `from` in the place of `to`, which may exist. */
export async function replaceFolder(from: string, to: string): Promise<void> {
  await mkdir(join(to, ".."), { recursive: true });
  // A name that the engine takes for no plugin.
  const made = join(to, "..", `.${basename(to)}.lsyncd-as-code-new`);
  const old = join(to, "..", `.${basename(to)}.lsyncd-as-code-old`);
  for (const leftover of [made, old]) await rm(leftover, { recursive: true, force: true });
  // A copy, because the two may be on different file systems.
  await cp(from, made, { recursive: true });
  await rm(from, { recursive: true, force: true });
  if (await exists(to)) await rename(to, old);
  await rename(made, to);
  await rm(old, { recursive: true, force: true });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
