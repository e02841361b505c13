import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { defaults } from "../../infra/config";
import { run } from "../../toolchain/run";
import {
  copierModules,
  create,
  end,
  events,
  fullPass,
  insert,
  root,
  rows,
  settings,
  source,
  sql,
  startEvents,
  startFullPass,
  status,
  target,
  useCopier,
} from "../support/copier";

jest.setTimeout(900_000);
useCopier();

const many = 960_000;

/** Commits continuously, this many rows at a time, until it is killed. */
function write(file: string, rowids = many): ChildProcess {
  const script = `import sqlite3, sys, time, random
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60); c.execute("pragma synchronous = off")
while True:
  c.execute("update t set b = randomblob(500) where rowid = ?", (random.randint(1, ${rowids}),)); time.sleep(0.001)`;
  return spawn("python3", ["-c", script, file], { stdio: ["ignore", "ignore", "inherit"] });
}

/** Copies it once, with this many seconds for writers. Returns the result, and how long writers were blocked. */
async function copyOnce(lockSeconds: number): Promise<{ outcome: string; held: number }> {
  const script = `my ($source, $target, $seconds) = @ARGV; my ($locked, $freed) = (0);
    replace lock_shared => sub { my $lock = shift; my $got = $lock->(@_); $locked = ticks() if $got; return $got };
    for my $name (qw(seal deferred)) { replace $name => sub { my $end = shift; $freed = ticks(); return $end->(@_) } }
    my $done = sync_unit(directory($source), directory($target), 'a.sqlite', options(lock_seconds => $seconds));
    print join ' ', $done->{why} // $done->{state}, $freed - $locked`;
  const { stdout } = await run("perl", [...copierModules, ...["-e", script, source, target, String(lockSeconds)]]);
  const [outcome = "", held = ""] = stdout.split(" ");
  return { outcome, held: Number(held) };
}

test("a big database that changes continuously is copied for its share of the time, and reported as behind meanwhile", async () => {
  const file = path.join(source, "a.sqlite");
  await sql(file, create, insert(many / 3));
  await fullPass();
  for (let i = 0; i < 600 && !status().includes("pending\t0"); i += 1) await sleep(100);
  const writer = write(file, many / 3);
  const [began, seen, reasons] = [Date.now(), new Set<number>(), new Set<string>()];
  const took: number[] = [];
  const look = setInterval(() => {
    // Each copy has the timestamp of its source.
    seen.add(statSync(path.join(target, "a.sqlite")).mtimeMs);
    const [, why = "", , reason = ""] = /^.*\ta\.sqlite\t.*$/m.exec(status())?.[0].split("\t") ?? [];
    reasons.add(why);
    const seconds = /its last copy took ([\d.]+) s/.exec(reason)?.[1];
    if (seconds !== undefined) took.push(Number(seconds));
  }, 100);
  try {
    while (Date.now() - began < 25_000) await events("/a.sqlite", "/a.sqlite-journal");
  } finally {
    clearInterval(look);
    await end(writer);
  }
  const elapsed = (Date.now() - began) / 1000;
  expect([...reasons]).toContain("throttled");
  // The first of them was there before, and the last may have just been made.
  const copies = seen.size - 2;
  expect(copies).toBeGreaterThan(0);
  expect((copies * Math.min(...took)) / elapsed).toBeLessThan(defaults.sqliteCopyShare / 100);
});

test("a first pass over ten thousand databases does not delay one that changes", async () => {
  await sql(path.join(source, "0.sqlite"), create, insert(20));
  for (let i = 1; i < 10_000; i += 1) copyFileSync(path.join(source, "0.sqlite"), path.join(source, `${i}.sqlite`));
  // Nobody waits for the copies.
  await startFullPass();
  await sql(path.join(source, "9999.sqlite"), insert(1));
  await startEvents("/9999.sqlite", "/9999.sqlite-journal");
  for (let i = 0; i < 500 && (await rows("9999.sqlite").catch(() => "")) !== "ok\n21"; i += 1) await sleep(20);
  // Others wait, and it does not wait for them.
  expect(status()).toMatch(/\tpending\t[1-9]/);
  expect(await rows("9999.sqlite")).toBe("ok\n21");
  for (let i = 0; i < 1200 && !status().includes("pending\t0"); i += 1) await sleep(100);
  expect((await run("diff", ["-rq", "-x", ".lsyncd-as-code", source, target], { allowFailure: true })).stdout).toBe("");
});

test("500 MB with a rollback journal, written continuously: writers wait within the limit, the last copy stays, and it is reported", async () => {
  const file = path.join(source, "a.sqlite");
  await sql(file, create, insert(many));
  expect(statSync(file).size).toBeGreaterThan(500e6);
  await fullPass();
  for (let i = 0; i < 600 && !status().includes("pending\t0"); i += 1) await sleep(100);
  const content = await rows("a.sqlite");
  expect(content).toBe(`ok\n${many}`);
  const copy = (): { ino: number; size: number; mtimeMs: number } => {
    const { ino, size, mtimeMs } = statSync(path.join(target, "a.sqlite"));
    return { ino, size, mtimeMs };
  };
  const before = copy();

  const writer = write(file);
  try {
    await sleep(500);
    const late = await copyOnce(0.02);
    expect(late.outcome).toBe("slow");
    expect(copy()).toEqual(before);
    const whole = await copyOnce(60);
    expect(whole.outcome).toBe("copied");
    // All of it has to be compared under the lock, which takes a multiple of that bound on any machine.
    expect(late.held).toBeLessThan(whole.held / 2);

    // The same by the worker, which reports it and tries again.
    await settings({ sqliteLockSeconds: 0.02 });
    const copied = copy();
    await events("/a.sqlite");
    for (let i = 0; i < 300 && !status().includes("\tslow\t"); i += 1) await sleep(100);
    expect(status()).toMatch(
      /\tslow\ta\.sqlite\t.*comparing it takes longer than writers may be blocked for \(0\.02 s\)/,
    );
    expect(copy()).toEqual(copied);
    expect(await rows("a.sqlite")).toBe(`ok\n${many}`);
  } finally {
    await end(writer);
  }
  // No process writes now, so none is blocked: the copier copies it.
  await sql(file, "pragma user_version = 7");
  await events("/a.sqlite");
  for (let i = 0; i < 900 && !status().includes("pending\t0"); i += 1) await sleep(100);
  expect(await rows("a.sqlite")).toBe(`ok\n${many}`);
  expect(await sql(path.join(root, "opened"), "pragma user_version")).toBe("7");
});
