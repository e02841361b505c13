import type { Reachable } from "../ssh";
import type { SandboxHost } from "../types";
import type { Owner } from "../state";
import type { Acceleration } from "./acceleration";

/** The file systems that a volume of a virtual machine can have. */
export const fileSystems = ["ext4", "xfs", "btrfs"] as const;

/** One of them. */
export type FileSystem = (typeof fileSystems)[number];

/** The volumes, by the name their disk has on this machine: the LUKS device below each and its mapper name, as documented. */
export const vmVolumes = {
  source: { device: "/dev/vdb", mapper: "nvme1n1", mountpoint: "/mnt/storage_do_1" },
  target: { device: "/dev/vdc", mapper: "nvme2n1", mountpoint: "/mnt/storage_do_2" },
} as const;

/** The passphrase of both volumes. It protects nothing: the disks are files of a sandbox. */
export const passphrase = "sandbox";

/** A virtual machine of a sandbox, with a kernel of its own: what is needed to reach it, to boot it and to cut its power. */
export interface VmHost extends Reachable, Pick<SandboxHost, "sandbox" | "release" | "dir"> {
  fileSystem: FileSystem;
  acceleration: Acceleration;
  /** Its image: a folder with `vmlinuz`, `initrd` and `root.img`. */
  image: string;
}

/** vm.json: a host, and the process that it belongs to (none for one that stays until it is removed). */
export interface VmState {
  host: VmHost;
  owner?: Owner;
  /** False while it is being made. */
  complete: boolean;
}
