import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { administratorPath, asRoot, isRoot } from "./privilege";

/** Programs that sandboxes, checks and tests run, with their packages on Debian and Ubuntu. */
const packages = {
  bash: "bash",
  flock: "util-linux",
  jq: "jq",
  losetup: "mount",
  lsyncd: "lsyncd",
  "luac5.3": "lua5.3",
  "lua5.3": "lua5.3",
  "mkfs.btrfs": "btrfs-progs",
  "mkfs.ext4": "e2fsprogs",
  "mkfs.xfs": "xfsprogs",
  mmdebstrap: "mmdebstrap",
  mount: "mount",
  msmtp: "msmtp",
  nsenter: "util-linux",
  openssl: "openssl",
  perl: "perl",
  prometheus: "prometheus",
  "prometheus-node-exporter": "prometheus-node-exporter",
  promtool: "prometheus",
  python3: "python3-venv",
  "qemu-system-x86_64": "qemu-system-x86",
  rsync: "rsync",
  shellcheck: "shellcheck",
  sqlite3: "sqlite3",
  ssh: "openssh-client",
  sshd: "openssh-server",
  "ssh-keygen": "openssh-client",
  setfacl: "acl",
  setfattr: "attr",
  strace: "strace",
  "systemd-analyze": "systemd",
  "systemd-escape": "systemd",
  "systemd-nspawn": "systemd-container",
  /** No program: the keys of Debian's archive, which are not there on Ubuntu unless asked for. */
  "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
} as const;

/** A program that can be asked for. */
export type Program = keyof typeof packages;

/** Whether a program is on PATH or in a folder of administration programs. A path is checked unchanged. */
export function isOnPath(program: string): boolean {
  if (program.startsWith("/")) return existsSync(program);
  return administratorPath()
    .split(":")
    .some((folder) => {
      try {
        accessSync(join(folder, program), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

// Seconds to wait for another package manager, such as that of a test beside this one.
const lockTimeout = 300;

/**
 * Makes sure that programs are installed: on Debian and Ubuntu, installs missing ones, as root or through sudo.
 * Otherwise throws a message of one line that lists what to install.
 */
export async function ensurePrograms(programs: readonly Program[], say: (line: string) => void): Promise<void> {
  const missing = programs.filter((program) => !isOnPath(program));
  if (missing.length === 0) return;
  const names = [...new Set(missing.map((program) => packages[program]))];
  const advice = `${missing.join(", ")} not found. Install (Debian's names): ${names.join(" ")}`;

  const release = "/etc/os-release";
  const debian = existsSync(release) && /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync(release, "utf8"));
  if (!debian || !(isRoot() || isOnPath("sudo"))) throw new Error(advice);
  say(`installing ${names.join(" ")} …`);
  const aptGet = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", `DPkg::Lock::Timeout=${lockTimeout}`];
  const install = [...aptGet, "install", "--no-install-recommends", ...names];
  if ((await asRoot("env", install, { allowFailure: true })).code === 0) return;
  try {
    // A machine without package lists, or with old ones
    await asRoot("env", [...aptGet, "update"]);
    await asRoot("env", install);
  } catch (error) {
    throw new Error(`${advice}\n${(error as Error).message}`, { cause: error });
  }
}
