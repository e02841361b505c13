import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { administratorPath, asRoot, isRoot } from "./privilege";
import type { Log } from "./types";

/** Programs a sandbox needs on this machine, and the Debian and Ubuntu package each is in. */
const needed = {
  "systemd-nspawn": "systemd-container",
  mmdebstrap: "mmdebstrap",
  "mkfs.ext4": "e2fsprogs",
  ssh: "openssh-client",
  "ssh-keygen": "openssh-client",
  flock: "util-linux",
  nsenter: "util-linux",
  losetup: "mount",
  mount: "mount",
} as const;

/** The keys of Debian's archive: not there on Ubuntu unless asked for. */
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

function isOnPath(program: string): boolean {
  return administratorPath()
    .split(":")
    .some((dir) => {
      try {
        accessSync(join(dir, program), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** The packages that hold what is missing of `needed`. */
function missingPackages(): string[] {
  const missing = Object.entries(needed).flatMap(([program, name]) => (isOnPath(program) ? [] : [name as string]));
  if (!existsSync(keyring)) missing.push("debian-archive-keyring");
  return [...new Set(missing)];
}

/** Makes sure that privileged steps can be taken without asking in between. Throws with one line that says what to do. */
function ensureRoot(): void {
  if (process.platform !== "linux") throw new Error("Sandbox hosts need Linux (systemd-nspawn, loop devices).");
  if (isRoot()) return;
  const advice = "Sandbox hosts are real machines: run this as root, or as a user with sudo";
  if (!isOnPath("sudo")) throw new Error(`${advice} (which is not installed).`);
  // -v asks for a password, once, on the terminal; without a terminal it must not wait for one.
  const args = process.stdin.isTTY ? ["-v"] : ["-n", "-v"];
  if (spawnSync("sudo", args, { stdio: "inherit" }).status !== 0) throw new Error(`${advice} (sudo refused).`);
}

/** Makes sure of root and of every program a sandbox needs, installing what is missing on Debian and Ubuntu. */
export async function ensurePrograms(log: Log): Promise<void> {
  ensureRoot();
  const packages = missingPackages();
  if (packages.length === 0) return;
  const list = packages.join(" ");
  const like = /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync("/etc/os-release", "utf8"));
  if (!like || !isOnPath("apt-get"))
    throw new Error(`Sandbox hosts need programs that are not here. Install (Debian's names): ${list}`);
  log(`Installing what sandbox hosts need: ${list}`);
  // Through env, because sudo passes no variables on.
  const install = [
    "DEBIAN_FRONTEND=noninteractive",
    "apt-get",
    "install",
    "-y",
    "-q",
    "--no-install-recommends",
    ...packages,
  ];
  if ((await asRoot("env", install, { allowFailure: true })).code === 0) return;
  // A machine without package lists, or with old ones
  await asRoot("apt-get", ["update", "-q"]);
  await asRoot("env", install);
}
