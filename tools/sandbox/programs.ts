import { spawnSync } from "node:child_process";
import { ensurePrograms, isOnPath } from "../../toolchain/programs";
import { isRoot } from "../../toolchain/privilege";
import type { Log } from "./types";

/** Checks that privileged steps need no further password. Throws with one line that names the next step. */
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
export async function ensureSandboxPrograms(log: Log): Promise<void> {
  ensureRoot();
  await ensurePrograms(
    [
      "systemd-nspawn",
      "mmdebstrap",
      "mkfs.ext4",
      "ssh",
      "ssh-keygen",
      "flock",
      "nsenter",
      "losetup",
      "mount",
      "/usr/share/keyrings/debian-archive-keyring.gpg",
    ],
    log,
  );
}
