import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { asRoot } from "../../toolchain/privilege";
import { until } from "./until";

const parent = "lsyncd-sandbox";

/**
 * The control group hierarchies that contain a host, from the text of /proc/mounts. The first one distinguishes
 * hosts: cgroup v2 where it is mounted, alone or beside v1, else v1's hierarchy of systemd. systemd-nspawn copies the groups of
 * the first into the second where there are both.
 */
export function hierarchies(mounts: string): [string, ...string[]] {
  const entries = mounts.split("\n").map((line) => line.split(" "));
  const v2 = entries.find(([, , type]) => type === "cgroup2");
  const named = entries.find(
    ([, , type, options]) => type === "cgroup" && options?.split(",").includes("name=systemd"),
  );
  const [first, ...others] = [v2?.[1], named?.[1]].filter((path) => path !== undefined);
  if (first === undefined)
    throw new Error("No control groups are mounted here. Mount them: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
  return [first, ...others];
}

function groupsOf(machine: string): [string, ...string[]] {
  const [first, ...others] = hierarchies(readFileSync("/proc/mounts", "utf8"));
  return [join(first, parent, machine), ...others.map((path) => join(path, parent, machine))];
}

/** The control group that holds all processes of one machine, whether it exists or not. */
export const groupOf = (machine: string): string => groupsOf(machine)[0];

/** The ids of all processes of a machine, those that run it included. */
export const processesOf = (machine: string): number[] => processesBelow(groupOf(machine));

function processesBelow(group: string): number[] {
  try {
    const own = readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
    const below = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...own, ...below.flatMap((entry) => processesBelow(join(group, entry.name)))];
  } catch (error) {
    // Never created, or just removed (ENODEV is a group's file whose group is gone)
    if (["ENOENT", "ENODEV"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
}

/** Kills every process of a machine at once, waits until they are gone, and removes its groups. */
export async function killGroup(machine: string): Promise<void> {
  const group = groupOf(machine);
  await until(`the processes of ${machine} are gone`, 20_000, async () => {
    const left = processesOf(machine);
    if (left.length === 0) return true;
    // cgroup.kill (Linux 5.14) misses no process that is forked meanwhile; before it, killing again does.
    if (existsSync(join(group, "cgroup.kill"))) await asRoot("sh", ["-c", 'echo 1 >"$1/cgroup.kill"', "sh", group]);
    else await asRoot("kill", ["-KILL", ...left.map(String)], { allowFailure: true });
    return false;
  });
  await removeGroups(machine);
}

/** Removes the empty control groups of a machine, and the one they are all in when it was the last. */
export async function removeGroups(machine: string): Promise<void> {
  for (const group of groupsOf(machine)) {
    await until(`${group} is removed`, 10_000, async () => {
      if (existsSync(group))
        await asRoot("find", [group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], { allowFailure: true });
      return !existsSync(group);
    });
    await asRoot("rmdir", ["--ignore-fail-on-non-empty", dirname(group)], { allowFailure: true });
  }
}
