import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../../toolchain/run";
import type { TortureDisk } from "../../torture/disk";
import { whenInterrupted } from "../../torture/interrupted";
import { Mirror } from "../../torture/mirror";
import { programs } from "../../torture/settings";
import type { Tools } from "../../torture/tools";
import { say } from "../options";
import { mountFor } from "./disk";
import { Group } from "./group";
import type { Directories, Many, Memory, Rate } from "./types";

/** The measurements for one number of databases. */
export interface Wanted {
  number: number;
  directories: Directories;
  rates: number[];
  seconds: number;
}

const script = path.join(__dirname, "databases.py");

/** Runs a command; returns the seconds that it took. */
async function seconds(command: string, args: string[]): Promise<number> {
  const began = performance.now();
  await run(command, args);
  return (performance.now() - began) / 1000;
}

/** Forgets what the kernel has read. */
async function forget(): Promise<void> {
  await run("sync", []);
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/**
 * Forgets the databases: with very many of them the second of two passes would find less of them in memory than the first. The
 * programs are read again, because on a host a deployment has just written them.
 */
async function cold(lsyncd: string): Promise<void> {
  await forget();
  const read = 'find "$1" -type f -exec cat {} + && perl -MPOSIX -e 1 && rsync --version && df && "$2" -version';
  await run("sh", ["-c", read, "sh", programs, lsyncd]);
}

/** How many first passes are measured: those over few databases end within a second, and the middle ratio of five counts. */
const repeated = (number: number): number => (number <= 10_000 ? 5 : 1);

/** Measures the first pass, a start with a complete mirror, and times of commits, on two disks of their own. */
export async function mirrored(tools: Tools, wanted: Wanted): Promise<Many> {
  const { number, directories } = wanted;
  const root = await mkdtemp(path.join(process.env.BENCH_DIRECTORY ?? tmpdir(), "lsyncd-as-code-many-"));
  const group = Group.make(path.basename(root));
  // Each counts itself, and is rsync then.
  const [counter, calls] = [path.join(root, "rsync"), path.join(root, "calls")];
  writeFileSync(counter, `#!/bin/sh\nprintf . >>'${calls}'\nexec rsync "$@"\n`, { mode: 0o755 });
  const mirror = new Mirror({ lsyncd: tools.lsyncd, root, safe: true, rsyncProgram: counter, through: group.through });
  const disks: TortureDisk[] = [];
  const end = async (): Promise<void> => {
    mirror.kill();
    for (const disk of disks.splice(0)) await disk.remove();
  };
  const inOrder = whenInterrupted(end);
  const disk = async (where: string): Promise<TortureDisk> => {
    const one = await mountFor(number, root, where);
    disks.push(one);
    return one;
  };
  const remove = async (one: TortureDisk): Promise<void> => {
    disks.splice(disks.indexOf(one), 1);
    await one.remove();
  };
  try {
    await mirror.prepare();
    await disk(mirror.source);
    await run("python3", [script, "make", mirror.source, String(number), String(directories)]);
    await run("sync", []);
    const files = path.join(mirror.source, directories === 1 ? "" : "000", "user-000000.sqlite");
    const found: Many = { number, directories, megabytes: (number * statSync(files).size) / 1e6, rates: [] };

    const plain = path.join(root, "plain");
    mkdirSync(plain);
    const passes: NonNullable<Many["first"]>[] = [];
    for (let left = repeated(number); left > 0; left--) {
      const other = await disk(plain);
      await cold(tools.lsyncd);
      const rsync =
        (await seconds("rsync", ["-a", `${mirror.source}/`, `${plain}/`])) + (await seconds("sync", ["-f", plain]));
      await remove(other);

      const target = await disk(mirror.target);
      await cold(tools.lsyncd);
      const [began, cpu, watched] = [performance.now(), group.cpu(), watch(mirror, group)];
      mirror.start();
      const copied = await inSync(mirror);
      const { memory } = watched();
      const pass = { seconds: (copied - began) / 1000, cpu: group.cpu() - cpu, rsync, memory };
      passes.push(pass);
      await complete(mirror);
      say(
        `${number} in ${directories}: first pass ${pass.seconds.toFixed(2)} s, rsync -a and a sync ${rsync.toFixed(2)} s`,
      );
      await mirror.stop();
      if (left === 1) continue;
      await remove(target);
      for (const directory of [mirror.state, mirror.marks]) rmSync(directory, { recursive: true });
      mkdirSync(mirror.state);
    }
    const byRatio = passes.sort((one, other) => one.seconds / one.rsync - other.seconds / other.rsync);
    const middle = byRatio[passes.length >> 1];
    if (middle) found.first = middle;

    // As the supervisor does when lsyncd stops; otherwise the next start compares what a power cut could have damaged.
    await run("sync", ["-f", mirror.target]);
    rmSync(path.join(mirror.target, ".lsyncd-as-code", "unsynced"), { force: true });
    const dry = (...more: string[]): Promise<number> =>
      seconds("rsync", ["-a", "--dry-run", ...more, `${mirror.source}/`, `${mirror.target}/`]);
    const before = await dry();
    // Empty and not removed: this is not its first pass.
    writeFileSync(path.join(mirror.marks, "passes"), "");
    const again = performance.now();
    mirror.start();
    const restart = ((await inSync(mirror)) - again) / 1000;
    found.restart = { seconds: restart, dryRun: (before + (await dry())) / 2, dryDelete: await dry("--delete") };
    say(`${number} in ${directories}: start ${restart.toFixed(1)} s, dry run ${found.restart.dryRun.toFixed(1)} s`);

    for (const perSecond of wanted.rates) {
      const rate = await commits(mirror, group, { ...wanted, perSecond }, calls);
      say(`${number} in ${directories}: ${JSON.stringify(rate)}`);
      found.rates.push(rate);
      await inSync(mirror);
    }
    await forget();
    found.kernel = group.kernel();
    say(`${number} in ${directories}: the kernel uses ${found.kernel?.toFixed(1) ?? "?"} MB`);
    return found;
  } finally {
    inOrder();
    await mirror.stop();
    await end();
    group.remove();
    await rm(root, { recursive: true, force: true });
  }
}

/** Waits until lsyncd's pass over everything has ended and the copier is idle. Returns when that was, by `performance.now`. */
async function inSync(mirror: Mirror): Promise<number> {
  const passes = path.join(mirror.marks, "passes");
  const queues = ["queue", "queue.pass"].map((name) => path.join(mirror.state, name));
  const status = path.join(mirror.state, "status.tsv");
  let since = 0;
  for (let calm = 0; calm < 2;) {
    // Often, but not so often that it takes time from what is measured.
    await sleep(20);
    const now = performance.now();
    mirror.mustLive();
    const copied =
      queues.every((queue) => !existsSync(queue) || statSync(queue).size === 0) ||
      (existsSync(status) && readFileSync(status, "utf8").includes("\tpending\t0\t"));
    const passed = existsSync(passes) && statSync(passes).size > 0;
    calm = passed && copied ? calm + 1 : 0;
    if (calm < 2) since = now;
  }
  return since;
}

/** Throws if the mirror is incomplete. */
async function complete(mirror: Mirror): Promise<void> {
  const { stdout } = await run("rsync", [
    "-ani",
    "--omit-dir-times",
    "--exclude=/.lsyncd-as-code",
    `${mirror.source}/`,
    `${mirror.target}/`,
  ]);
  const lacking = stdout.split("\n").filter((line) => /^[<>ch.*]f/.test(line));
  if (lacking.length > 0)
    throw new Error(`the mirror lacks ${lacking.length} files: ${lacking.slice(0, 3).join(", ")}`);
}

/** Looks once a second until the returned function is called, which looks once more and returns the most delays and memory. */
function watch(mirror: Mirror, group: Group): () => { delays: number; memory: Memory } {
  const most = { delays: 0, memory: { lsyncd: 0, copier: 0 } };
  const look = (): void => {
    const found = /There are (\d+) delays/.exec(mirror.status())?.[1];
    most.delays = Math.max(most.delays, Number(found ?? 0));
    const now = group.memory();
    for (const name of ["lsyncd", "copier"] as const)
      most.memory[name] = Math.max(most.memory[name], now.get(name) ?? 0);
  };
  const looking = setInterval(look, 1000);
  return () => {
    clearInterval(looking);
    look();
    return most;
  };
}

async function commits(
  mirror: Mirror,
  group: Group,
  { number, directories, perSecond, seconds: lasting }: Wanted & { perSecond: number },
  calls: string,
): Promise<Rate> {
  const rsyncs = (): number => (existsSync(calls) ? statSync(calls).size : 0);
  const watched = watch(mirror, group);
  const write = async (target: string, time: number): Promise<Written> => {
    const args = [script, "write", mirror.source, target, number, directories, perSecond, time].map(String);
    return JSON.parse((await run("python3", args)).stdout) as Written;
  };
  try {
    const [cpu, before, began] = [group.cpu(), rsyncs(), performance.now()];
    let written: Written = { commits: 0, p99: 0, lag: { count: 0, median: 0, p99: 0, worst: 0 } };
    if (perSecond > 0) written = await write(mirror.target, lasting);
    else await sleep(lasting * 1000);
    const took = (performance.now() - began) / 1000;
    const used = { cpu: (group.cpu() - cpu) / took, rsyncs: rsyncs() - before };
    // The same without a mirror: it is stopped, where it stands.
    let alone = 0;
    if (perSecond > 0) {
      const stopped = mirror.freeze();
      try {
        alone = (await write(mirror.source, Math.min(lasting, 20))).p99;
      } finally {
        mirror.thaw(stopped);
      }
    }
    return { perSecond, seconds: took, ...written, alone, ...used, ...watched() };
  } finally {
    watched();
  }
}

type Written = Pick<Rate, "commits" | "p99" | "lag">;
