import { constants, existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { allowed, changed, Commits, readTold, type Told } from "./bound";
import { Mirror } from "./mirror";
import type { Tools } from "./tools";
import { check, commitsOf, type Finding, type Latencies, startWriters, type Writer } from "./workload";

/** What to do to the mirror. */
export interface TortureOptions {
  tools: Tools;
  writers: Writer[];
  samples: number;
  safe: boolean;
  /** Also kill -9 a random process of the mirror between the samples, and start lsyncd again. */
  kill: boolean;
  /** Told after each sample. */
  report?: (sample: number, findings: Finding[]) => void;
}

/** What came of it. */
export interface TortureResult {
  findings: Finding[];
  faults: Finding[];
  /** Copies that were further behind than the mirror told. */
  late: Finding[];
  kills: Map<string, number>;
  latencies: Map<string, Latencies>;
}

/** A big database is checked in one of so many samples. */
const BIG_EVERY = 25;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs writers against a real lsyncd and freezes the mirror at random moments: everything that lsyncd started is
 * stopped, the target is copied, and the copies are opened and checked, as after the loss of the primary.
 */
export async function torture(options: TortureOptions): Promise<TortureResult> {
  const { tools, samples, safe } = options;
  const root = await mkdtemp(path.join(process.env.TORTURE_DIRECTORY ?? tmpdir(), "lsyncd-torture-"));
  const mirror = new Mirror({ lsyncd: tools.lsyncd, root, safe });
  const findings: Finding[] = [];
  const kills = new Map<string, number>();
  // Interrupted while all is frozen, it would leave stopped processes for ever.
  const abort = (): void => {
    mirror.kill();
    process.exit(1);
  };
  for (const signal of SIGNALS) process.once(signal, abort);
  try {
    await mirror.prepare();
    const endWriters = await startWriters(tools.python, mirror.source, options.writers);
    const commits = new Commits(options.writers.map((writer) => commitsOf(mirror.source, writer)));
    let latencies = new Map<string, Latencies>();
    try {
      mirror.start();
      await untilMirrored(mirror, options.writers);
      // The checks of a sample run while the next one is awaited.
      let checking = Promise.resolve();
      for (let sample = 0; sample < samples; sample++) {
        await sleep(200 + Math.random() * 1300);
        if (options.kill && Math.random() < 0.6) {
          const victim = mirror.killOne();
          if (victim !== undefined) kills.set(victim, (kills.get(victim) ?? 0) + 1);
          await sleep(50);
          mirror.start();
        }
        await checking;
        const writers = options.writers.filter(({ big }) => !big || sample % BIG_EVERY === BIG_EVERY - 1);
        const { copy, told, changes } = await frozenCopy(mirror, writers, path.join(root, "copy"));
        checking = check(tools.python, copy, writers, told.frozen).then((found) => {
          commits.read();
          for (const finding of found) {
            const { big } = writers.find(({ databases }) => databases.some((one) => one.path === finding.path)) ?? {};
            if (finding.n === undefined) continue;
            finding.behind = commits.behind(finding.path, finding.n, told.frozen);
            finding.allowed = allowed(told, finding.path, changes.get(finding.path) ?? 0, big ?? false);
          }
          findings.push(...found);
          options.report?.(sample, found);
        });
      }
      await checking;
    } finally {
      latencies = await endWriters();
      await mirror.stop();
    }
    const faults = findings.filter((finding) => finding.fault !== null);
    const late = findings.filter(({ behind = 0, allowed = 0 }) => behind > allowed);
    return { findings, faults, late, kills, latencies };
  } finally {
    for (const signal of SIGNALS) process.off(signal, abort);
    await rm(root, { recursive: true, force: true });
  }
}

/** Stops the mirror where it is, copies what writers wrote of it, and notes what it tells of itself. */
async function frozenCopy(
  mirror: Mirror,
  writers: Writer[],
  copy: string,
): Promise<{ copy: string; told: Told; changes: Map<string, number> }> {
  await rm(copy, { recursive: true, force: true });
  const stopped = mirror.freeze();
  try {
    const told = readTold(mirror.state, Date.now() / 1000, mirror.running());
    const changes = new Map<string, number>();
    for (const { path: name } of writers.flatMap(({ databases }) => databases)) {
      changes.set(name, changed(mirror.target, name));
      await mkdir(path.dirname(path.join(copy, name)), { recursive: true });
      for (const suffix of ["", "-wal", "-shm", "-journal"]) {
        const file = path.join(mirror.target, name + suffix);
        if (existsSync(file)) await copyFile(file, path.join(copy, name + suffix), constants.COPYFILE_FICLONE);
      }
    }
    return { copy, told, changes };
  } finally {
    mirror.thaw(stopped);
  }
}

/** Waits for the first pass, in which a big database takes its time; then a missing one is a fault. */
async function untilMirrored(mirror: Mirror, writers: Writer[]): Promise<void> {
  const all = writers.flatMap((writer) => writer.databases);
  for (let i = 0; i < 1200; i++) {
    if (all.every((database) => existsSync(path.join(mirror.target, database.path)))) return sleep(2000);
    await sleep(100);
  }
  throw new Error("not every database reached the mirror within two minutes");
}

/** The ages in seconds of what was found, by the first part of the path. */
export function ages(findings: Finding[]): Map<string, { median: number; p95: number; max: number; count: number }> {
  const groups = new Map<string, number[]>();
  for (const { path: file, age } of findings) {
    if (age === undefined) continue;
    const group = file.split("/")[0] ?? file;
    groups.set(group, [...(groups.get(group) ?? []), age]);
  }
  return new Map(
    [...groups].map(([group, list]) => {
      const sorted = list.sort((a, b) => a - b);
      const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
      return [group, { median: at(0.5), p95: at(0.95), max: at(1), count: sorted.length }];
    }),
  );
}
