import { ensureImage } from "../../tools/sandbox/image";

/** Returns the words of a command that runs another one on Debian 13, with a folder of this machine at /mnt. It needs root. */
export async function onDebian13(folder: string, ...command: string[]): Promise<string[]> {
  const image = await ensureImage("trixie", () => undefined, ["lsyncd", "perl", "python3"]);
  // The mounts are private to the command, so the image is unchanged.
  const inside = `mount --bind "$1" "$2/mnt" && mount --rbind /dev "$2/dev" && mount -t proc proc "$2/proc" || exit
image=$2; shift 2; exec chroot "$image" "$@"`;
  return ["unshare", "--mount", "bash", "-c", inside, "bash", folder, image, ...command];
}
