import { readFileSync } from "node:fs";
import { asRoot } from "../../toolchain/privilege";
import type { Log } from "./types";

const setting = "/proc/sys/fs/inotify/max_user_instances";

/** systemd holds 5 inotify instances, dbus and logind one each (measured on Debian 12), lsyncd one; the rest is for a shell or two. */
const perHost = 10;

/** Instances for the machine's own programs. */
const reserve = 48;

/** Enough for 100 hosts. */
const raised = 1024;

/**
 * Raises the number of inotify instances that root may have when `hosts` hosts need it: Linux's default, 128, is used up by about
 * fifteen, because root in all of them is root on this machine. It lasts until the machine restarts, and is printed.
 */
export async function ensureWatchInstances(hosts: number, log: Log): Promise<void> {
  const limit = (): number => Number(readFileSync(setting, "utf8"));
  const before = limit();
  if (before >= Math.min(raised, hosts * perHost + reserve)) return;
  await asRoot("sh", ["-c", 'echo "$1" >"$2"', "sh", String(raised), setting], { allowFailure: true });
  log(
    limit() >= raised
      ? `Raised fs.inotify.max_user_instances on this machine from ${before} to ${raised}, until it restarts: ${hosts} hosts need it`
      : `fs.inotify.max_user_instances on this machine is ${before} and can't be raised: too few for ${hosts} hosts`,
  );
}
