import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asRoot } from "../../../toolchain/privilege";
import { machineCodename, machineReachSettings, machineSources, sourcesFor } from "../apt";
import { withLock } from "../lock";
import { imagesDir, lockPath } from "../paths";
import type { Log, Release } from "../types";

/** The packages of a Debian server with encrypted volumes; lsyncd is missing on purpose: the program installs it. */
const packages = [
  ...["apparmor", "btrfs-progs", "ca-certificates", "cryptsetup", "dbus", "e2fsprogs", "initramfs-tools", "iproute2"],
  ...["kmod", "linux-image-cloud-amd64", "openssh-server", "procps", "python3", "rsync", "sqlite3", "sudo", "systemd"],
  ...["systemd-sysv", "udev", "xfsprogs", "zstd"],
];

/** The size of a root disk in MiB; the file is sparse. */
const rootSizeMb = 3072;

const script = join(__dirname, "prepare-image.sh");
const guestFiles = join(__dirname, "..", "guest");

/** The image of a release, built on first request (two minutes, 600 MB): a folder with vmlinuz, initrd and root.img. */
export async function ensureVmImage(release: Release, log: Log): Promise<string> {
  const sources = sourcesFor(release, machineSources(), machineCodename());
  const reach = await machineReachSettings();
  const key = createHash("sha256")
    .update(JSON.stringify([release, packages, sources, reach, rootSizeMb]))
    .update(readFileSync(script))
    .digest("hex")
    .slice(0, 12);
  const dir = join(imagesDir(), `vm-${release}-${key}`);
  if (existsSync(dir)) return dir;
  const onWait = (): void => {
    log(`Another run is building the image of a Debian ${release} virtual machine, waiting for it`);
  };
  return withLock(lockPath(`image-vm-${release}`), onWait, async () => {
    if (!existsSync(dir)) await build(dir, release, sources, reach, log);
    return dir;
  });
}

async function build(dir: string, release: Release, sources: string[], reach: string[], log: Log): Promise<void> {
  const building = `${dir}.building`;
  const tree = join(building, "tree");
  log(`Building the image of a Debian ${release} virtual machine, once (two minutes, 600 MB in ${imagesDir()})`);
  await asRoot("rm", ["-rf", "--one-file-system", building]);
  mkdirSync(building, { recursive: true, mode: 0o700 });
  await asRoot("setpriv", [
    ...["--pdeathsig=TERM", "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase"],
    ...["--skip=cleanup/apt/lists", `--include=${packages.join(",")}`],
    ...reach.map((line) => `--aptopt=${line.replace(/;$/, "")}`),
    ...[release, tree, ...sources],
  ]);
  await asRoot("bash", [script, tree, guestFiles]);
  const copy = 'cp -L "$1"/boot/vmlinuz-* "$2/vmlinuz" && cp -L "$1"/boot/initrd.img-* "$2/initrd"';
  await asRoot("sh", ["-c", copy, "sh", tree, building]);
  await asRoot("truncate", ["-s", `${String(rootSizeMb)}M`, join(building, "root.img")]);
  await asRoot("mkfs.ext4", ["-q", "-F", "-d", tree, join(building, "root.img")]);
  await asRoot("rm", ["-rf", "--one-file-system", tree]);
  await asRoot("mv", ["-T", building, dir]);
}
