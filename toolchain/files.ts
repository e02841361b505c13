import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { cp, mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";

/** Marks each folder that this toolchain built itself, to distinguish it from the publisher's. */
const MARKER = "lsyncd-as-code.json";

/** Whether the path is a non-empty executable file. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    const { size } = statSync(path);
    return statSync(path).isFile() && size > 0;
  } catch {
    return false;
  }
}

/** The first executable of this name on PATH. Like the engine, ignores relative entries. */
export function onPath(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const folders = (env.PATH ?? "").split(":").filter((folder) => isAbsolute(folder));
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The hash of the sources of a folder, or undefined if this toolchain did not build it. */
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

/** Replaces the folder `to`, which need not exist, with `from`. */
export async function replaceFolder(from: string, to: string): Promise<void> {
  await mkdir(join(to, ".."), { recursive: true });
  // A name that the engine does not mistake for a plugin.
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
