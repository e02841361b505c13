import { chmodSync, closeSync, openSync, readFileSync, rmSync, statfsSync } from "node:fs";
import path from "node:path";
import { asRoot } from "../../toolchain/privilege";
import type { Disk } from "../sandbox/types";
import { cutFileSystem, makeDisk } from "../sandbox/volumes";

/** A file system of its own, on a disk that can fill up and lose its power. */
export class TortureDisk {
  private constructor(
    private readonly disk: Disk,
    private readonly mountpoint: string,
  ) {}

  /** Creates one with its image in `directory`, and mounts it writable for everyone. */
  static async mount(directory: string, mountpoint: string, megabytes: number, inodes?: number): Promise<TortureDisk> {
    const disk = new TortureDisk(await makeDisk(directory, "torture", megabytes, inodes), mountpoint);
    await disk.attach();
    await asRoot("chmod", ["777", mountpoint]);
    return disk;
  }

  private async attach(): Promise<void> {
    await asRoot("mount", ["-t", "ext4", this.disk.device, this.mountpoint]);
  }

  /** Everything that is not on the disk yet is lost, and every access fails from now on. */
  async cut(): Promise<void> {
    await asRoot(...cutFileSystem(this.mountpoint));
  }

  /** Mounts it again after a cut, as at the next boot; nothing may use it. */
  async remount(): Promise<void> {
    await asRoot("umount", [this.mountpoint]);
    await this.attach();
  }

  /** Fills the disk up to so many free bytes, including the space reserved for root. */
  async fill(rest: number): Promise<void> {
    const { bfree, bsize } = statfsSync(this.mountpoint);
    closeSync(openSync(this.filling, "w"));
    chmodSync(this.filling, 0o600);
    const most = Math.max(0, Math.floor(bfree * bsize - rest));
    // It takes what is left if others use some meanwhile.
    if (most > 0) await asRoot("fallocate", ["-l", String(most), this.filling], { allowFailure: true });
  }

  /** Frees that space. */
  free(): void {
    rmSync(this.filling, { force: true });
  }

  /** Bytes that were written to it, its file system's own included, with all that was still to be written. */
  async written(): Promise<number> {
    await asRoot("sync", ["--file-system", this.mountpoint]);
    // The seventh number is sectors of 512 bytes: Documentation/block/stat.rst in Linux.
    const stat = readFileSync(`/sys/class/block/${path.basename(this.disk.device)}/stat`, "latin1");
    return Number(stat.trim().split(/\s+/)[6]) * 512;
  }

  private get filling(): string {
    return path.join(this.mountpoint, "filling");
  }

  async remove(): Promise<void> {
    await asRoot("umount", ["--lazy", this.mountpoint], { allowFailure: true });
    // It disappears when the last process that has it open ends.
    await asRoot("losetup", ["--detach", this.disk.device], { allowFailure: true });
  }
}
