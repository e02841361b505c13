import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { asRoot } from "../../toolchain/privilege";
import { ensureImage } from "../../tools/sandbox/image";
import { prepareRecording, recording } from "../support/lsyncd-calls";

// lsyncd of Debian 13, on Debian 13, calls rsync as Debian 12's does (test/hosts/lsyncd-calls.test.ts).

test("lsyncd on Debian 13 calls rsync exactly as recorded", async () => {
  const image = await ensureImage("trixie", () => undefined, ["lsyncd", "perl", "python3"]);
  const folder = mkdtempSync(path.join(tmpdir(), "lsyncd-calls-"));
  try {
    const args = prepareRecording(folder, "/mnt");
    copyFileSync(path.join(__dirname, "../support/record-lsyncd.sh"), path.join(folder, "record"));
    // The mounts are private to this process, so the image is unchanged.
    const inside = `mount --bind "$1" "$2/mnt" && mount --bind /dev "$2/dev" && mount -t proc proc "$2/proc" || exit
image=$2; shift 2; . "$image/etc/os-release"; echo "$VERSION_CODENAME"; exec chroot "$image" bash /mnt/record "$@"`;
    const { stdout } = await asRoot("unshare", ["--mount", "bash", "-c", inside, "bash", folder, image, ...args]);
    expect(stdout).toBe(`trixie\n${recording}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 900_000);
