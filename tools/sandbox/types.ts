/** The Debian releases a sandbox host can run. */
export const releases = ["bookworm", "trixie"] as const;

/** A Debian release: bookworm is 12, trixie is 13. */
export type Release = (typeof releases)[number];

/** The two volumes of a host. */
export const volumeNames = ["source", "target"] as const;

/** One of a host's two volumes. */
export type VolumeName = (typeof volumeNames)[number];

/** Where each volume is mounted in every host: the defaults of the program under test. */
export const mountpoints = { source: "/mnt/storage_do_1", target: "/mnt/storage_do_2" } as const;

/** An ext4 file system in an image file on this machine, seen in the host as a disk. */
export interface Disk {
  /** The image file on this machine. */
  image: string;
  /** The loop device, the same path on this machine and in the host. */
  device: string;
  /** The file system's UUID. */
  uuid: string;
}

/** The disk that holds a host's source or target. */
export interface Volume extends Disk {
  /** Where the host mounts it. */
  mountpoint: string;
}

/**
 * How a host handles a volume at boot.
 * - `auto`: fstab has a line for it and the disk is there: it is mounted.
 * - `locked`: fstab has the same line, but the disk does not appear until `mount`, as if it were still locked.
 * - `noauto`: fstab has a line that is not mounted at boot.
 * - `absent`: fstab has no line, so systemd knows no mount unit before the mount.
 */
export type AtBoot = "auto" | "locked" | "noauto" | "absent";

/** One Debian machine of a sandbox: everything that is needed to reach and inspect it. */
export interface SandboxHost {
  /** Its host name, unique in its sandbox. */
  name: string;
  /** The name systemd-nspawn knows it by, unique on this machine. */
  machine: string;
  /** The name of the sandbox it belongs to. */
  sandbox: string;
  release: Release;
  /** Its own loopback address on this machine. */
  address: string;
  /** The port its sshd listens on. */
  port: number;
  /** The user that `privateKeyPath` logs in as; `admin` (with sudo, without a password) takes the same key. */
  user: "root";
  /** Its only host key, as one `ssh-ed25519 AAAA…`. */
  hostKey: string;
  /** The sandbox's client key, without a passphrase. */
  privateKeyPath: string;
  /** The sandbox's known_hosts file, with every host of it. */
  knownHostsPath: string;
  /** Everything this machine keeps about the host. */
  dir: string;
  /** Its root directory as seen from this machine, running or not. The volumes are not mounted there: see `pathOf`. */
  root: string;
  /** Where the source is mounted in the host. */
  source: string;
  /** Where the target is mounted in the host. */
  target: string;
  volumes: Record<VolumeName, Volume>;
  /** Every disk the host has: those of its volumes, and what `newDisk` added. */
  disks: Disk[];
  atBoot: Record<VolumeName, AtBoot>;
}

/** A group of hosts that are created and removed together. */
export interface Sandbox {
  name: string;
  release: Release;
  /** Everything this machine keeps about the sandbox. */
  dir: string;
  /** In order of their number. */
  hosts: SandboxHost[];
}

/** Shows what happens, one line at a time. */
export type Log = (line: string) => void;
