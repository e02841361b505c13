import { TortureDisk } from "../../torture/disk";

/** Mounts a disk for so many databases of databases.py (24 kB each, an inode, and as much again for copies that are being made). */
export const mountFor = (databases: number, directory: string, where: string): Promise<TortureDisk> =>
  TortureDisk.mount(directory, where, 1000 + Math.ceil(databases * 0.08), Math.max(databases * 2, 20_000));
