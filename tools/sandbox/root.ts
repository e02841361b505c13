import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asRoot } from "../../toolchain/privilege";
import { readSandboxState } from "./state";
import type { SandboxHost } from "./types";
import { until } from "./until";

/** Folders of the layer above the image, and of the overlay file system's own work. */
const layersOf = (dir: string): [string, string] => [join(dir, "upper"), join(dir, "work")];

/**
 * Makes the host's root directory: its own layer over the shared image, which costs neither time nor space. The layer is on this
 * machine's disk and stays mounted while the host is off. Does nothing if it exists.
 */
export async function mountRoot(host: SandboxHost): Promise<void> {
  const copied = existsSync(join(host.dir, "copied"));
  if (copied || isMounted(host.root)) return;
  const image = readSandboxState(host.sandbox)?.image ?? "";
  if (!existsSync(image))
    throw new Error(`${host.name}: its image ${image} is gone. Take the sandbox down and create it again.`);
  const [upper, work] = layersOf(host.dir);
  await asRoot("mkdir", ["-p", upper, work, host.root]);
  const escape = (path: string): string => path.replaceAll(/[\\:,]/g, "\\$&");
  const layers = `lowerdir=${escape(image)},upperdir=${escape(upper)},workdir=${escape(work)}`;
  const mounted = await asRoot("mount", ["-t", "overlay", "-o", layers, host.machine, host.root], {
    allowFailure: true,
  });
  if (mounted.code === 0) return;
  // There is no overlay file system here, or one that cannot be stacked: copy instead, in seconds and 300 MB.
  await asRoot("cp", ["-a", "--reflink=auto", `${image}/.`, host.root]);
  await asRoot("touch", [join(host.dir, "copied")]);
}

/** Deletes a host's root directory. The host is off. */
export async function removeRoot(dir: string): Promise<void> {
  const root = join(dir, "root");
  await until(`${root} is unmounted`, 20_000, async () => {
    if (isMounted(root)) await asRoot("umount", [root], { allowFailure: true });
    return !isMounted(root);
  });
  await asRoot("rm", ["-rf", "--one-file-system", root, join(dir, "copied"), ...layersOf(dir)]);
}

/** True when something is mounted at exactly this path on this machine. */
export function isMounted(path: string): boolean {
  // /proc/mounts writes blanks and backslashes as octal escapes.
  const escaped = path.replaceAll(/[\\ \t\n]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
  return readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .some((line) => line.split(" ")[1] === escaped);
}
