import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { create, events, fullPass, idle, source, sql, state, status, useCopier } from "../support/copier";

// A change that an lsyncd queued before it ended, for the copier of the next one.

useCopier();

const processes: ChildProcess[] = [];
/** A process in the place of lsyncd, whose calls follow. */
const lsyncd = (): ChildProcess => {
  const process_ = spawn("sleep", ["600"]);
  processes.push(process_);
  process.env.LSYNCD_PID = String(process_.pid);
  return process_;
};
afterEach(() => {
  for (const one of processes.splice(0)) one.kill();
  delete process.env.LSYNCD_PID;
});

it("is settled although the database is gone on both sides, and the new lsyncd has nothing to copy", async () => {
  const first = lsyncd();
  await fullPass();
  await idle();
  // No worker can begin: as if it had been killed together with its lsyncd.
  const holder = spawn("flock", [path.join(state, "worker.lock"), "sleep", "600"], { detached: true });
  await sql(path.join(source, "a.sqlite"), create);
  await events("/a.sqlite");
  rmSync(path.join(source, "a.sqlite"));
  expect(readFileSync(path.join(state, "queue"), "latin1")).toContain("a.sqlite");
  first.kill();
  if (holder.pid !== undefined) process.kill(-holder.pid);
  lsyncd();
  await fullPass();
  await idle();
  expect(statSync(path.join(state, "queue")).size).toBe(0);
  expect(status()).not.toContain("a.sqlite");
}, 60_000);
