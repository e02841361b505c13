import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { asRoot } from "./privilege";
import { until } from "./until";

const parent = "lsyncd-sandbox";

/**
 * The control group hierarchy that tells hosts apart, from the text of /proc/mounts: cgroup v2 where it is mounted (alone, or
 * beside v1), else v1's hierarchy of systemd.
 */
export function hierarchy(mounts: string): string {
  const entries = mounts.split("\n").map((line) => line.split(" "));
  const v2 = entries.find(([, , type]) => type === "cgroup2");
  const named = entries.find(
    ([, , type, options]) => type === "cgroup" && options?.split(",").includes("name=systemd"),
  );
  const path = v2?.[1] ?? named?.[1];
  if (path === undefined)
    throw new Error("No control groups are mounted here. Mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
  return path;
}

/** The control group of one machine, whether it exists or not. */
export function groupOf(machine: string): string {
  return join(hierarchy(readFileSync("/proc/mounts", "utf8")), parent, machine);
}

/** The ids of all processes in a control group and below it. */
export function processesIn(group: string): number[] {
  if (!existsSync(group)) return [];
  try {
    const own = readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
    const below = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...own, ...below.flatMap((entry) => processesIn(join(group, entry.name)))];
  } catch {
    // It was removed while we looked.
    return [];
  }
}

/** Kills every process of a control group at once, waits until they are gone, and removes the group. */
export async function killGroup(group: string): Promise<void> {
  if (!existsSync(group)) return;
  // cgroup.kill (Linux 5.14) misses no process that is forked meanwhile; before it, killing again does.
  if (existsSync(join(group, "cgroup.kill"))) await asRoot("sh", ["-c", 'echo 1 >"$1/cgroup.kill"', "sh", group]);
  await until(`the processes of ${group} are gone`, 20_000, async () => {
    const left = processesIn(group);
    if (left.length > 0) await asRoot("kill", ["-KILL", ...left.map(String)], { allowFailure: true });
    return left.length === 0;
  });
  await removeGroup(group);
}

/** Removes an empty control group, and the one above it when it was the last. */
export async function removeGroup(group: string): Promise<void> {
  await until(`${group} is removed`, 10_000, async () => {
    if (existsSync(group))
      await asRoot("find", [group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], { allowFailure: true });
    return !existsSync(group);
  });
  await asRoot("rmdir", ["--ignore-fail-on-non-empty", dirname(group)], { allowFailure: true });
}
