import {
  appendFileSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { allowed, Commits, readReports, type Pause, type Reports } from "./bound";
import { TortureDisk } from "./disk";
import { whenInterrupted } from "./interrupted";
import { Mirror, roles, type Role } from "./mirror";
import { run } from "../../toolchain/run";
import type { Tools } from "./tools";
import { check, commitsOf, type Finding, type Latencies, startWriters, type Writer } from "./workload";

/**
 * A disruption of the mirror. kill: a random process of it gets SIGKILL before a sample, and lsyncd is started again. full: its
 * disk fills up in the middle. power: its disk loses its power at each sample, and what was not on it.
 */
export const disruptions = ["kill", "full", "power"] as const;
export type Disruption = (typeof disruptions)[number];

/** Arguments of a torture run. */
export interface TortureOptions {
  tools: Tools;
  writers: Writer[];
  samples: number;
  safe: boolean;
  /** When a change counts to lsyncd, if not by default. */
  inotifyMode?: string;
  /** Of a writer's many databases so many are opened in a sample, at random; all of them by default. */
  few?: number;
  /** The longest time in seconds between two samples; 1.5 by default. */
  longestPause?: number;
  disruption?: Disruption;
  /** Called after each sample. */
  report?: (sample: number, findings: Finding[]) => void;
}

/** The results. */
export interface TortureResult {
  findings: Finding[];
  faults: Finding[];
  /** Copies that were further behind than the mirror reported. */
  late: Finding[];
  /** Seconds that it took to copy all but the big databases in the simplest way, at each sample. */
  probes: number[];
  /** Number of kills of each program. */
  kills: Map<Role, number>;
  /** The programs that were stopped while working, when the mirror was copied. */
  stopped: Set<Role>;
  /** The output of the mirror's programs. */
  said: string;
  latencies: Map<string, Latencies>;
}

/** A big database is checked in one of so many samples. */
const BIG_EVERY = 25;
/** Megabytes of the mirror's disk when it is to fill up or lose its power: twice what the writers need, and what the copier leaves free. */
const DISK = 600;
/** The same when it is not: enough for big databases and their copies. Its image is sparse. */
const LARGE_DISK = 4000;
/** The cost of copying at a moment is the maximum of so many earlier measurements: as far back as a copy takes. */
const PROBES = 4;
/** Seconds in which a restarted mirror has checked everything. */
const RECOVERY = 4;

/**
 * Runs writers against a real lsyncd and freezes the mirror at random moments: everything that lsyncd started is
 * stopped, the target is copied, and the copies are opened and checked, as after the loss of the primary.
 */
export async function torture(options: TortureOptions): Promise<TortureResult> {
  const { tools, samples, safe, inotifyMode, few = Infinity, longestPause = 1.5, disruption } = options;
  const root = await mkdtemp(path.join(process.env.TORTURE_DIRECTORY ?? tmpdir(), "lsyncd-torture-"));
  const mirror = new Mirror({
    lsyncd: tools.lsyncd,
    root,
    safe,
    ...(inotifyMode === undefined ? {} : { inotifyMode }),
  });
  const findings: Finding[] = [];
  const kills = new Map<Role, number>();
  const stopped = new Set<Role>();
  const pauses: Pause[] = [];
  const probes: number[] = [];
  let disk: TortureDisk | undefined;
  // Includes frozen processes, which would stay frozen forever.
  const inOrder = whenInterrupted(async () => {
    mirror.kill();
    await disk?.remove();
  });
  try {
    await mirror.prepare();
    // Its own disk: the gate counts losses per file system, and other processes delete files on the test's own.
    const size = disruption === "full" || disruption === "power" ? DISK : LARGE_DISK;
    disk = await TortureDisk.mount(root, mirror.target, size);
    const endWriters = await startWriters(tools.python, mirror.source, options.writers);
    const commits = new Commits(options.writers.map((writer) => commitsOf(mirror.source, writer)));
    const newest = new Map<string, number>();
    const endMails = deliverMails(mirror.source);
    let latencies = new Map<string, Latencies>();
    let done = 0;
    try {
      mirror.start();
      await untilMirrored(mirror, options.writers);
      // The checks of a sample run while the next one is awaited.
      let checking = Promise.resolve();
      for (let sample = 0; sample < samples; sample++) {
        if (disruption === undefined) mirror.mustLive();
        if (disruption === "full") await fillUp(disk);
        const [probed] = await Promise.all([
          probe(root, mirror.source, options.writers),
          sleep(200 + Math.random() * (longestPause * 1000 - 200)),
        ]);
        probes.push(probed);
        const victim = roles[sample % roles.length];
        if (disruption === "kill" && victim) {
          if (await mirror.killOne(victim)) kills.set(victim, (kills.get(victim) ?? 0) + 1);
          await sleep(Math.random() * 100);
          mirror.start();
        }
        await checking;
        const writers = options.writers
          .filter(({ big }) => !big || sample % BIG_EVERY === BIG_EVERY - 1)
          .map((writer) => ({ ...writer, databases: some(few, writer.databases) }));
        const copy = path.join(root, "copy");
        const reports =
          disruption === "power"
            ? await cutCopy(mirror, disk, writers, copy)
            : await frozenCopy(mirror, writers, copy, stopped);
        disk.free();
        if (disruption === "power") {
          mirror.start();
          await sleep(RECOVERY * 1000);
        }
        const frozen = [...pauses];
        const copyingAll = Math.max(...probes.slice(-PROBES));
        pauses.push({ from: reports.frozen, to: Date.now() / 1000 });
        checking = check(tools.python, copy, writers, reports.frozen).then((found) => {
          commits.read();
          for (const finding of found) {
            const { big, chaos } =
              writers.find(({ databases }) => databases.some((one) => one.path === finding.path)) ?? {};
            if (finding.n === undefined) continue;
            const before = newest.get(finding.path) ?? 0;
            if (finding.n < before) finding.fault = `went back from transaction ${before} to ${finding.n}`;
            newest.set(finding.path, finding.n);
            // A writer that is killed has no time to record its last commit.
            if (chaos) continue;
            finding.behind = commits.behind(finding.path, finding.n, reports.frozen, frozen);
            finding.allowed = allowed(reports, finding.path, big ?? false, copyingAll);
          }
          findings.push(...found);
          options.report?.(sample, found);
        });
      }
      await checking;
      if (disruption === undefined) mirror.mustLive();
      done = samples;
    } finally {
      const delivered = endMails();
      latencies = await endWriters();
      // lsyncd-supervisor would repeat a killed pass, but does not run here.
      if (samples === done && disruption === undefined) findings.push(...(await missingMails(mirror, delivered)));
      await mirror.stop();
    }
    const faults = findings.filter((finding) => finding.fault !== null);
    const late = findings.filter(({ behind = 0, allowed = 0 }) => behind > allowed);
    return { findings, faults, late, probes, kills, stopped, said: mirror.said(), latencies };
  } finally {
    inOrder();
    await disk?.remove();
    await rm(root, { recursive: true, force: true });
  }
}

/**
 * Ordinary files, as a mail server writes them: beside, then renamed into place; the last twenty stay. Every tenth is written
 * slowly, in place. Returns a function that stops it and returns the names of the files that exist then.
 */
function deliverMails(source: string): () => string[] {
  const folder = path.join(source, "incoming");
  mkdirSync(folder, { recursive: true });
  let count = 0;
  let slow = path.join(folder, "0.eml");
  const timer = setInterval(() => {
    const name = path.join(folder, `${(count += 1)}.eml`);
    const text = `Subject: mail ${count}\n\n${"x".repeat(2000)}\n`;
    if (count % 10 === 0) slow = name;
    else {
      writeFileSync(`${name}.new`, text);
      renameSync(`${name}.new`, name);
    }
    appendFileSync(slow, text);
    rmSync(path.join(folder, `${count - 20}.eml`), { force: true });
  }, 300);
  return () => {
    clearInterval(timer);
    return readdirSync(folder).map((name) => path.join("incoming", name));
  };
}

/** A fault for each ordinary file that does not arrive within a time in which all of them must have. */
async function missingMails(mirror: Mirror, names: string[]): Promise<Finding[]> {
  const differing = (): string[] =>
    names.filter((name) => {
      const target = path.join(mirror.target, name);
      return !existsSync(target) || !readFileSync(path.join(mirror.source, name)).equals(readFileSync(target));
    });
  for (let i = 0; i < 1200 && differing().length > 0; i++) await sleep(100);
  return differing().map((name) => ({ path: name, fault: "an ordinary file that did not arrive" }));
}

/** Fills the disk during copies, several times, and in the end leaves less space than a copy of the larger ones needs. */
async function fillUp(disk: TortureDisk): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await sleep(Math.random() * 400);
    disk.free();
    await sleep(Math.random() * 400);
    await disk.fill(Math.random() * 1e6);
  }
}

/** Seconds that it takes at this moment to copy all but the big databases, in the simplest way. */
async function probe(root: string, source: string, writers: Writer[]): Promise<number> {
  const scratch = path.join(root, "scratch");
  await mkdir(scratch, { recursive: true });
  const files = writers.filter(({ big }) => !big).flatMap(({ databases }) => databases);
  const argv = [path.join(__dirname, "probe.pl"), scratch, ...files.map((one) => path.join(source, one.path))];
  return Number((await run("perl", argv)).stderr);
}

/** The given number of elements of a list, at random. */
function some<T>(many: number, list: T[]): T[] {
  return list
    .map((one) => ({ one, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, many)
    .map(({ one }) => one);
}

/** Freezes the mirror, copies the writers' databases from it, and returns its reports about itself. Adds the stopped programs to `roles`. */
async function frozenCopy(mirror: Mirror, writers: Writer[], copy: string, roles: Set<Role>): Promise<Reports> {
  const stopped = mirror.freeze();
  try {
    for (const role of mirror.running()) roles.add(role);
    const reports = readReports(mirror.state, Date.now() / 1000, mirror.copies());
    await copyTarget(mirror, writers, copy);
    return reports;
  } finally {
    mirror.thaw(stopped);
  }
}

/** Cuts the power of the mirror's disk and ends the mirror, then copies the state that a boot would find. */
async function cutCopy(mirror: Mirror, disk: TortureDisk, writers: Writer[], copy: string): Promise<Reports> {
  await disk.cut();
  const reports = readReports(mirror.state, Date.now() / 1000, mirror.copies());
  mirror.kill();
  await mirror.gone();
  await disk.remount();
  await copyTarget(mirror, writers, copy);
  return reports;
}

async function copyTarget(mirror: Mirror, writers: Writer[], copy: string): Promise<void> {
  await rm(copy, { recursive: true, force: true });
  for (const { path: name } of writers.flatMap(({ databases }) => databases)) {
    await mkdir(path.dirname(path.join(copy, name)), { recursive: true });
    for (const suffix of ["", "-wal", "-shm", "-journal"]) {
      const file = path.join(mirror.target, name + suffix);
      if (existsSync(file)) await copyFile(file, path.join(copy, name + suffix), constants.COPYFILE_FICLONE);
    }
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

/** The ages of the findings in seconds, by the first part of the path. */
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
