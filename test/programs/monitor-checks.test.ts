import { readdirSync } from "node:fs";
import { appendFile, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { run } from "../../toolchain/run";
import { library, PretendedHost, type CheckRun } from "../support/monitor";
import { installTime, needPrograms } from "../support/programs";

// The monitor's checks, each called alone and without a host; functions replace systemd, the journal and df.

let host: PretendedHost;
beforeAll(() => needPrograms("bash"), installTime);
beforeEach(async () => {
  host = await PretendedHost.make();
});
afterEach(() => host.remove());

/** The only line of a check's output, as `verdict key text`. */
const only = ({ findings, stderr }: CheckRun): string => {
  const [first, ...more] = findings;
  if (first === undefined || more.length > 0) throw new Error(`${JSON.stringify(findings)} ${stderr}`);
  return `${first.verdict} ${first.key} ${first.text}`;
};
const now = Math.floor(Date.now() / 1000);
/** The properties of the service in systemd. */
const unit = (values: Record<string, string | number>): string =>
  Object.entries({ LoadState: "loaded", ActiveState: "active", SubState: "running", Result: "success", ...values })
    .map(([key, value]) => `echo '${key}=${value}'`)
    .join(";")
    .replace(/^(.*)$/, '{ $1; } >"$work/unit.out"');
/** A live process named lsyncd. It ends with the check. */
const lives = `cp /bin/sleep "$folder/lsyncd"; "$folder/lsyncd" 30 >/dev/null 2>&1 & lsyncd=$!
  until [[ $(</proc/$lsyncd/comm) == lsyncd ]]; do :; done
  unit_processes() { echo $lsyncd; }
  systemctl() { cat "$work/unit.out"; }\n`;
const alive = (values: Record<string, string | number> = {}): string => lives + unit({ MainPID: 1, ...values });

it("each file in checks/ is a check that the monitor runs, and no other file knows its function", async () => {
  const names = readdirSync(join(library, "checks")).map((name) => name.replace(/\.sh$/, ""));
  const { stdout } = await host.bash('echo "volumes ${checks[*]}"');
  expect(stdout.trim().split(" ").sort()).toEqual(names.sort());
  for (const name of names)
    expect(await readFile(join(library, `checks/${name}.sh`), "utf8")).toContain(`\ncheck_${name}() {\n`);
});

describe("service", () => {
  const dead = "unit_processes() { :; }; ";

  it.each([
    ["a running lsyncd", alive({ MainPID: 77 }), "ok - lsyncd.service is running, process 77"],
    [
      "a unit that is active without a process",
      alive({ SubState: "exited" }) + "; kill -KILL $lsyncd; wait $lsyncd 2>/dev/null; " + dead,
      "problem service systemd shows lsyncd.service as active (exited), but no lsyncd process lives",
    ],
    [
      "one that is stopped by a signal",
      alive() + "; kill -STOP $lsyncd; until grep -q 'T (stopped)' /proc/$lsyncd/status; do :; done",
      /^problem service lsyncd \(process \d+\) is stopped by a signal$/,
    ],
    [
      "an inactive unit",
      `systemctl() { cat "$work/unit.out"; }\n${unit({ ActiveState: "inactive", SubState: "dead", Result: "exit-code" })}`,
      "problem service lsyncd.service is not running (inactive, dead, last result exit-code)",
    ],
    [
      "a unit that is not installed",
      `systemctl() { cat "$work/unit.out"; }\n${unit({ LoadState: "not-found" })}`,
      "problem service lsyncd.service is not installed",
    ],
    [
      "a unit that restarts",
      unit({ ActiveState: "activating", SubState: "auto-restart" }),
      "skipped - it is being started (auto-restart, last result success), see restarts",
    ],
    ["a silent systemd", "", "problem service systemd does not report whether lsyncd.service is running"],
    [
      "a mirror in use",
      `echo 'since today' >"$folder/state/failover"; ${unit({ ActiveState: "inactive" })}`,
      "held - held for failover: since today",
    ],
    [
      "an lsyncd that runs although the mirror is in use",
      `echo x >"$folder/state/failover"; ${alive()}`,
      /^problem failover-running lsyncd runs although .*\/state\/failover holds the mirror: stop it, or remove the mark$/,
    ],
  ])("%s", async (_, before, expected) => {
    const said = only(await host.check("service", before));
    if (typeof expected === "string") expect(said).toBe(expected);
    else expect(said).toMatch(expected);
  });
});

describe("volumes", () => {
  it.each([
    ["exit 0", "ok - both are mounted, and are the deployed ones"],
    ["echo 'lsyncd-guard: a' >&2; exit 1", "problem volumes: a a"],
    ["exit 3", "problem volumes: the guard failed with exit status 3 and gave no reason the guard failed"],
  ])("guard: %s", async (guard, expected) => {
    await host.write({ guard: `#!/bin/bash\n${guard}\n` });
    expect(only(await host.check("volumes"))).toContain(expected);
  });

  it("reports each reason, a mirror in use, or a missing guard", async () => {
    expect(only(await host.check("volumes"))).toBe(`unknown volumes ${host.at("guard")} is missing`);
    await host.write({ guard: "#!/bin/bash\nprintf 'lsyncd-guard: %s\\n' a b >&2\nexit 1\n" });
    expect((await host.check("volumes")).findings.map(({ text }) => text)).toEqual(["a", "b"]);
    await host.write({ "state/failover": "x\n" });
    expect(only(await host.check("volumes"))).toMatch(/^held - held for failover: a b/);
  });
});

describe("monitor", () => {
  const timer = (state: string, booted: number | string = 0) =>
    `systemctl() { case "$*" in *UserspaceTimestamp*) echo ${booted} ;; *) printf '%s\\n' ${state} ;; esac; }`;
  const ago = (seconds: number) => `$(($(ticks) / 100 - ${seconds}))`;
  const ran = (seconds: number) => `echo "${ago(seconds)} 0" >"$run_dir/verdict"; : >"$state/last-run"; `;
  // Microseconds after the boot of the machine, as of a container that began so long ago.
  const booted = (seconds: number) => timer("active enabled", `${ago(seconds)}000000`);

  it.each([
    ["a first run", timer("active enabled", 9e15), "ok - first run"],
    ["a run 5 minutes ago", ran(310) + timer("active enabled"), "ok - the last run was 5 minutes ago"],
    ["no run for 20 minutes", ran(1201) + timer("active enabled"), "problem monitor no check ran for 20 minutes"],
    ["the first run after a boot", `: >"$state/last-run"; ${booted(130)}`, "ok - no run since the boot"],
    ["no run since a boot", `: >"$state/last-run"; ${booted(1330)}`, "problem monitor no check ran for 20 minutes"],
    ["a run before a boot that kept /run", ran(9000) + booted(130), "ok - no run since the boot"],
    ["a run before a boot of the machine", ran(-9000) + booted(130), "ok - no run since the boot"],
    [
      "the record of an earlier version",
      `${ran(310)}echo "another-boot 12" >"$state/last-run"; ${booted(9000)}`,
      "ok - the last run was 5 minutes ago",
    ],
    [
      "an interrupted run",
      ran(10) + timer("active enabled") + "; interrupted=1",
      "problem monitor the previous run was interrupted",
    ],
  ])("%s", async (_, before, expected) => {
    expect(only(await host.check("monitor", before))).toContain(expected);
  });

  it("finds the last run of the unit, which reads another boot_id in a container", async () => {
    const before = `${booted(9000)}; echo other >"$folder/boot_id"
      unshare --mount bash -c "mount --bind '$folder/boot_id' /proc/sys/kernel/random/boot_id || exit
        $(declare -f real_ticks ticks put note_run); state='$state' run_dir='$run_dir' found=; note_run 0"
      [[ -s $run_dir/verdict ]] || echo "nothing was recorded"`;
    expect(only(await host.check("monitor", before))).toBe("ok - the last run was 0 minutes ago");
  });

  it("reports a stopped timer, and a state that cannot be saved", async () => {
    const { findings } = await host.check("monitor", `${timer("inactive masked")}; state_kept=0`);
    expect(findings.map(({ verdict, key }) => `${verdict} ${key}`)).toEqual([
      "problem state",
      "problem monitor-timer",
      "ok -",
    ]);
    expect(findings[1]?.text).toContain("lsyncd-monitor.timer is inactive masked");
  });
});

describe("restarts", () => {
  it("counts those of the last hour, even if a manual start resets systemd's counter", async () => {
    const at = async (restarts: number, time: number) =>
      only(await host.check("restarts", `now=${time}; ${unit({ NRestarts: restarts })}`));
    expect(await at(7, now)).toBe("ok - restarted 0 times in the last hour");
    expect(await at(9, now + 300)).toBe("ok - restarted 2 times in the last hour");
    expect(await at(2, now + 600)).toBe("ok - restarted 4 times in the last hour");
    expect(await at(3, now + 900)).toBe("problem restarts systemd restarted lsyncd 5 times in the last hour (limit 5)");
    expect(await at(3, now + 4300)).toBe("ok - restarted 1 times in the last hour");
  });

  it("does not count refused starts while a volume is missing", async () => {
    await host.check("restarts", unit({ NRestarts: 0 }));
    const run = await host.check("restarts", `volumes_outcome=; ${unit({ NRestarts: 50 })}`);
    expect(only(run)).toBe("ok - restarted 0 times in the last hour");
  });

  it("is unknown without systemd", async () => {
    expect(only(await host.check("restarts"))).toBe(
      "unknown restarts systemd does not report how often it restarted lsyncd",
    );
  });
});

describe("memory", () => {
  it.each([
    [{ MemoryMax: "infinity" }, /^ok - \d+ MiB, no limit$/],
    [{ MemoryMax: 2 ** 30 }, /^ok - \d+ of 1024 MiB$/],
    [{ MemoryMax: 65536 }, /^problem memory lsyncd uses \d+ MiB of the unit's limit of 0 MiB \(over 90 %\)$/],
    [{ MemoryMax: "infinity", MemoryHigh: 65536 }, /^problem memory /],
  ])("%j", async (limits, expected) => {
    expect(only(await host.check("memory", alive(limits)))).toMatch(expected);
  });
});

describe("watches", () => {
  const limit = async () => Number(await readFile("/proc/sys/fs/inotify/max_user_watches", "utf8"));

  it("compares lsyncd's number of watches with the kernel's limit", async () => {
    expect(only(await host.check("watches", alive()))).toMatch(/^ok - limit \d+; lsyncd has not reported yet/);
    await host.write({ "lsyncd.status": `x\nInotify watching 12 directories\n` });
    expect(only(await host.check("watches", alive()))).toMatch(/^ok - 12 of \d+$/);
    await host.write({ "lsyncd.status": `Inotify watching ${await limit()} directories\n` });
    expect(only(await host.check("watches", alive()))).toMatch(/^problem watches .*raise fs\.inotify/);
  });

  it("reports nothing while lsyncd is stopped", async () => {
    const stopped = unit({ ActiveState: "inactive" });
    expect(only(await host.check("watches", stopped))).toBe("skipped - see service");
    await host.write({ "state/failover": "x\n" });
    expect(only(await host.check("watches", stopped))).toBe("held - held for failover");
  });
});

describe("log", () => {
  const stamp = "Sat Nov 28 10:00:00 2026";
  const log = () => host.at("lsyncd.log");

  it("starts at the end, continues there, and counts by kind", async () => {
    expect(only(await host.check("log"))).toBe(`ok - there is no ${log()}`);
    await writeFile(log(), `${stamp} Error: from before\n`);
    expect(only(await host.check("log"))).toBe(`ok - no new error in ${log()}`);
    await appendFile(
      log(),
      `${stamp} Normal: Finished a list after exitcode: 23\n${stamp} Normal: Finished a list after exitcode: 24\n` +
        `${stamp} Normal: --- OVERFLOW in event queue ---\n${stamp} Normal: Retrying a list after exitcode = 12\n` +
        `/a\nError: a name\n${stamp} Normal: fine\n${stamp} Error: half a line`,
    );
    const { findings } = await host.check("log");
    expect(findings.map(({ key }) => key)).toEqual(["sync-error-23", "overflow", "sync-error-12"]);
    await appendFile(log(), " made whole\n");
    expect(only(await host.check("log"))).toMatch(/^problem sync-error 1 new in .*Error: half a line made whole$/);
    expect(only(await host.check("log"))).toMatch(/^ok/);
  });

  it("reads at most 4 MiB and says so", async () => {
    await writeFile(log(), "");
    await host.check("log");
    await writeFile(log(), `${stamp} Error: lost\n${"x".repeat(100)}\n${`${"y".repeat(99)}\n`.repeat(50_000)}`);
    await appendFile(log(), `${stamp} Error: seen\n`);
    const { findings } = await host.check("log");
    expect(findings.map(({ key }) => key)).toEqual(["sync-error", "log-skipped"]);
    expect(findings[0]?.text).toMatch(/^1 new .*Error: seen$/);
  });

  it("reports each error once, whatever is rotated, truncated or written between two runs", async () => {
    const step = fc.oneof(
      fc.constantFrom("run", "rotate", "part", "rewrite"),
      fc.integer({ min: 1, max: 4 }).map((count) => `errors ${count}`),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
        const each = await PretendedHost.make();
        try {
          const file = each.at("lsyncd.log");
          let written = 0;
          let found = 0;
          // The limit of what a run can find: after two rotations since the last run, a log is compressed and still read.
          let rotations = 0;
          const look = async () => {
            for (const { verdict, text } of (await each.check("log")).findings)
              if (verdict === "problem") found += Number(/^(\d+) new/.exec(text)?.[1]);
            rotations = 0;
          };
          await writeFile(file, `${stamp} Normal: begin ${Math.random()}\n`);
          await look();
          for (const one of [...steps, "end", "run"]) {
            const [what, count] = one.split(" ");
            if (what === "run") await look();
            else if (what === "part") await appendFile(file, `${stamp} Normal: part`);
            else if (what === "end") await appendFile(file, "\n");
            else if (what === "rewrite") {
              // Truncated in place: only what was read before is lost.
              await appendFile(file, "\n");
              await look();
              await writeFile(file, `${stamp} Normal: anew ${Math.random()}\n`);
              // Truncated and then rotated twice before the next run: what was written in between is not found.
              rotations = 1;
            } else if (what === "rotate") {
              // An unfinished line continues in the file where it began.
              await appendFile(file, "\n");
              if (rotations === 2) continue;
              rotations += 1;
              const older = await readFile(each.at("lsyncd.log.1")).catch(() => undefined);
              if (older) {
                await run("bash", [
                  "-c",
                  'cd "$1" && gzip -f lsyncd.log.1 && mv lsyncd.log.1.gz lsyncd.log.2.gz',
                  "-",
                  each.folder,
                ]);
              }
              await rename(file, each.at("lsyncd.log.1"));
              await writeFile(file, `${stamp} Normal: next ${Math.random()}\n`);
            } else
              for (let index = 0; index < Number(count); index++) {
                written += 1;
                await appendFile(file, `\n${stamp} Error: number ${written}\n`);
              }
          }
          expect(found).toBe(written);
        } finally {
          await each.remove();
        }
      }),
      { numRuns: 4 },
    );
  }, 120_000);
});

describe("journal", () => {
  const line = (who: string, text: string) => `[   12.345678] sqlite-1 ${who}: ${text}\n`;
  const read = async (text: string, before = "") => {
    await host.write({ journal: `${text}-- cursor: s=1;i=2\n` });
    return host.check(
      "journal",
      `journalctl() { printf '%s\\n' "$*" >"$work/asked"; cat "$folder/journal"; }; ${before}`,
    );
  };

  it("reports rsync's own messages, with the exit code in the same finding", async () => {
    const run = await read(
      line("lsyncd-run[7]", "rsync: [receiver] write failed on /mnt/x: No space left on device (28)") +
        line("lsyncd-run[7]", "rsync error: error in file IO (code 11) at receiver.c(374)"),
    );
    expect(only(run)).toBe(
      "problem sync-error-11 1 new in the journal, the last: rsync error: error in file IO (code 11) at receiver.c(374)" +
        " <- rsync: [receiver] write failed on /mnt/x: No space left on device (28)",
    );
    expect(run.remembered.journal).toBe("s=1;i=2\n");
    await read("");
    expect(await readFile(host.at("work/asked"), "utf8")).toContain("-u lsyncd.service --after-cursor=s=1;i=2");
  });

  it("reports the files that a power cut destroyed in the source", async () => {
    const said = "power cut: a holds only zeros in the source, and other content in the mirror";
    expect(only(await read(line("lsyncd-run[7]", said)))).toContain(said);
  });

  it.each([
    "no room in the mirror for large: it needs 120 MB, 15 are free. Everything else is mirrored",
    "cannot delete held from the mirror: cannot remove it: Operation not permitted",
    "the mirror could not be synced to the disk of /mnt/x: cannot sync the file system: Input/output error",
    "the generation was not raised: cannot write generation.new: Read-only file system",
  ])("reports messages of the wrapper and the supervisor: %s", async (said) => {
    expect(only(await read(line("lsyncd-supervisor[7]", said)))).toBe(
      `problem sync-error 1 new in the journal, the last: ${said}`,
    );
  });

  it("reports files that a pass left behind until a full pass was complete, although no new line says so", async () => {
    await read("");
    expect(only(await read(""))).toBe("ok - no new error in the journal");
    await host.write({ "run/left-behind": "" });
    expect((await read("")).findings.map(({ verdict, key }) => `${verdict} ${key}`)).toEqual([
      "problem left-behind",
      "ok -",
    ]);
    expect((await read("")).findings[0]?.text).toMatch(/^since 20\S+ \S+ \S+ no full pass has copied the files/);
    await host.write({ "state/failover": "" });
    expect(only(await read(""))).toBe("ok - no new error in the journal");
  });

  it("is not deceived by file names, and ignores errors during a stop", async () => {
    const run = await read(
      line("lsyncd[9]", "12:00:00 Normal: Calling rsync with filter-list") +
        line("lsyncd[9]", "rsync error: forged (code 23)") +
        line("systemd[1]", "Stopping lsyncd.service...") +
        line("lsyncd-run[7]", "rsync error: received SIGTERM (code 20)") +
        line("systemd[1]", "Started lsyncd.service.") +
        line("lsyncd-run[8]", "rsync: file has vanished: x (code 24)"),
    );
    expect(only(run)).toBe("ok - no new error in the journal");
  });

  it("reports when the kernel ran out of memory, and when it cannot read further", async () => {
    expect(only(await read(line("systemd[1]", "lsyncd.service: A process was killed by the OOM killer.")))).toContain(
      "problem out-of-memory ",
    );
    const broken = await host.check("journal", "journalctl() { echo 'Failed to seek' >&2; return 1; }");
    expect(only(broken)).toContain("unknown journal the journal could not be read from the end of the last run");
    expect(broken.remembered.journal).toBe("\n");
  });
});

it("a call of lsyncd is neither the process that waits for the next one, nor the copier of databases", async () => {
  const { stdout } = await host.bash(`
    cp /bin/sleep "$folder/rsync-wrapper"; cp /bin/sleep "$folder/sqlite-copier"
    "$folder/rsync-wrapper" 30 >/dev/null 2>&1 & call=$!
    setsid "$folder/sqlite-copier" 30 >/dev/null 2>&1 & copier=$!
    ready=$("$folder/rsync-wrapper" 30 >/dev/null 2>&1 & echo $!)
    until [[ $(cat /proc/{$call,$copier,$ready}/comm) == *wrapper*copier*wrapper ]]; do :; done
    unit_is() { echo $$; }
    unit_processes() { printf '%s\\n' $$ $call $copier $ready 999999999; }
    [[ $(call_processes) == "$call" ]] && echo 'the call alone'
    kill $call $copier $ready`);
  expect(stdout).toBe("the call alone\n");
});

describe("backlog", () => {
  const quick = "sleep() { :; }; ";

  it("reports the number of waiting changes, too many of them, and lsyncd's silence in three runs", async () => {
    await host.write({ "lsyncd.status": "There are 100 delays\n" });
    expect(only(await host.check("backlog", alive()))).toBe("ok - 100 changes are pending");
    await host.write({ "lsyncd.status": "There are 101 delays\n" });
    expect(only(await host.check("backlog", quick + alive()))).toBe(
      "problem backlog 101 changes are pending (limit 100)",
    );
    await host.write({ "lsyncd.status": "" });
    const runs = [];
    for (let count = 0; count < 3; count++) runs.push(only(await host.check("backlog", quick + alive())));
    expect(runs).toEqual([
      "ok - lsyncd has not written its status yet",
      "ok - lsyncd has not written its status yet",
      expect.stringMatching(/^problem backlog-unknown .* has not reported the backlog for 3 runs$/),
    ]);
  });

  it("checks again before it reports a burst as a backlog", async () => {
    await host.write({ "lsyncd.status": "There are 900 delays\n" });
    const over = `sleep() { echo 'There are 3 delays' >"$folder/lsyncd.status"; }; ${alive()}`;
    expect(only(await host.check("backlog", over))).toBe("ok - 3 changes are pending");
  });
});

it("databases: reports those that are behind by cause, and names the oldest", async () => {
  const none = await host.check("databases", alive());
  expect(only(none)).toBe("ok - none is behind");
  expect(none.values).toEqual({ databases_waiting: "0", databases_behind_seconds: "0" });
  // Not known is not 0.
  expect((await host.check("databases", unit({ ActiveState: "inactive" }))).values).toEqual({});
  const line = (age: number, cause: string, path: string) => `${now - age}.5\t${cause}\t${path}\tbusy\n`;
  await host.write({
    "state/sqlite/status.tsv": `updated\t1.0\tpending\t3\n${line(10, "queued", "d")}`,
  });
  expect(only(await host.check("databases", alive()))).toBe(
    "ok - 1 are waiting to be copied, none for more than 300 s",
  );
  await host.write({
    "state/sqlite/status.tsv": line(900, "locked", "a b.sqlite") + line(500, "locked", "c") + line(400, "error", "e"),
  });
  const { findings } = await host.check("databases", `now=${now}; ${alive()}`);
  expect(findings.map(({ key, text }) => `${key} ${text}`).sort()).toEqual([
    "stale-databases-error 1 databases are behind in the mirror (error): e for 400 s (busy)",
    "stale-databases-locked 2 databases are behind in the mirror (locked): a b.sqlite for 900 s (busy)",
  ]);
});

it("reports databases in time if the clock was ahead when they were queued", async () => {
  const at = (seconds: number) => host.check("databases", `now=${now + seconds}; ${alive()}`);
  await host.write({ "state/sqlite/status.tsv": `${now + 86_400 * 3650}.5\tlocked\ta.sqlite\tbusy\n` });
  expect(only(await at(0))).toMatch(/^ok/);
  expect((await at(200)).values).toMatchObject({ databases_behind_seconds: "200" });
  expect(only(await at(301))).toBe(
    "problem stale-databases-locked 1 databases are behind in the mirror (locked): a.sqlite for 301 s (busy)",
  );
  await rm(host.at("state/sqlite/status.tsv"));
  await at(302);
  await host.write({ "state/sqlite/status.tsv": `${now + 86_400}.5\tlocked\tb.sqlite\tbusy\n` });
  expect(only(await at(302))).toMatch(/^ok/);
});

it.each([3600, 2 * 86_400, 3650 * 86_400])(
  "a pause made while the clock was %s s ahead ends when it is set back",
  async (ahead) => {
    await host.write({ "state/alerts/paused": `${now + ahead} ${now + ahead + 7200}\n` });
    const paused = async (at: number) =>
      (await host.bash("paused && echo paused", { LSYNCD_MONITOR_NOW: String(at) })).stdout.trim();
    expect(await paused(now + ahead + 60)).toBe("paused");
    expect(await paused(now)).toBe("");
    expect(await paused(now + ahead + 60)).toBe("");
  },
);

describe("verify", () => {
  const fine = "systemctl() { return 1; }";
  const finished = (faults: number, unchecked: number) =>
    `finished\t${now}\t1\t1\t1\t1\t1\t${faults}\t0\t${unchecked}\t0\nfault\tmail.sqlite\tis malformed\n`;

  it.each([
    [finished(0, 0), "ok - lsyncd-verify found no fault at "],
    [finished(2, 0), "problem verify 2 faults in the mirror at "],
    [finished(0, 3), "problem verify-unchecked 3 files of the mirror could not be verified at "],
    ["junk\n", "unknown verify "],
  ])("%j", async (text, expected) => {
    await host.write({ "state/sqlite/verify.tsv": text });
    expect(only(await host.check("verify", fine))).toContain(expected);
  });

  it("reports an interrupted verification, and a missing one", async () => {
    const { findings } = await host.check("verify", "systemctl() { return 0; }");
    expect(findings.map(({ key, text }) => `${key} ${text}`)).toEqual([
      "verify-failed the verification of the mirror was interrupted (systemctl status lsyncd-verify.service)",
      "- lsyncd-verify has not run",
    ]);
  });
});

describe("disk", () => {
  it.each([
    ["90 3", "ok - the target is 90 % full, 3 % of its inodes"],
    ["91 3", "problem disk-space the target is 91 % full (limit 90 %)"],
    ["9 91", "problem disk-inodes the target has used 91 % of its inodes (limit 90 %)"],
    ["50 -", "ok - the target is 50 % full, - % of its inodes"],
  ])("%s", async (numbers, expected) => {
    const df = `df() { printf '%s\\n' 'Use%% IUse%%' ' ${numbers.replaceAll(/(\d+)/g, "$1%%")}'; }`;
    expect(only(await host.check("disk", df.replaceAll("%%", "%")))).toBe(expected);
  });

  it("names a file that has no room, as long as it is left out", async () => {
    const df = `df() { printf '%s\\n' 'Use% IUse%' ' 85% 3%'; }`;
    await host.write({ "run/no-room": "large\nfile\0other" });
    expect((await host.check("disk", df)).findings.map(({ verdict, key, text }) => [verdict, key, text])).toEqual([
      ["ok", "-", "the target is 85 % full, 3 % of its inodes"],
      ["problem", "disk-no-room", "the target has no room for 2 files, which are not mirrored; one is large file"],
    ]);
    await rm(host.at("run/no-room"));
    expect(only(await host.check("disk", df))).toBe("ok - the target is 85 % full, 3 % of its inodes");
  });

  it("does not check an unmounted volume, and is unknown when df fails", async () => {
    expect(only(await host.check("disk", "volumes_outcome=; df() { echo asked >&2; }"))).toBe("skipped - see volumes");
    expect(only(await host.check("disk", "df() { echo 'df: no' >&2; return 1; }"))).toBe("unknown disk df: df: no");
  });
});

it("source: distinguishes an emptied source from an empty one", async () => {
  expect(only(await host.check("source"))).toBe("ok - it is empty, and has been since the deployment");
  // Files of this program and of the file system.
  await run("mkdir", [host.at("source/.lsyncd-as-code"), host.at("source/lost+found")]);
  await host.write({ "source/.lsyncd-monitor-probe": "", "source/.lsyncd-wait.123": "" });
  expect(only(await host.check("source"))).toBe("ok - it is empty, and has been since the deployment");
  await host.write({ "source/mail": "" });
  expect(only(await host.check("source"))).toBe("ok - it has files");
  await rm(host.at("source/mail"));
  expect(only(await host.check("source"))).toMatch(/^problem source-emptied the source is empty now/);
  expect(only(await host.check("source", "volumes_outcome="))).toBe("skipped - see volumes");
});

describe("moving", () => {
  // Simulates lsyncd for the probe, which it renames into place.
  const mirrors = (then = "") => `${alive()}
    work_done() { echo 1; }
    (while sleep 0.05; do
      if [[ -e $folder/source/$probe_name ]]; then
        cp "$folder/source/$probe_name" "$folder/copied" && mv "$folder/copied" "$folder/target/$probe_name"; ${then}
      else rm -f "$folder/target/$probe_name"; fi
    done) >/dev/null 2>&1 &\n`;
  const still = `${alive()}\nwork_done() { echo 1; }; until_true() { "\${@:2}"; }; `;
  const left = async () =>
    (
      await run("bash", ["-c", `ls -A '${host.at("source")}' '${host.at("target")}' | grep -c probe`], {
        allowFailure: true,
      })
    ).stdout.trim();

  it("is proved by a change that arrives and is removed again; nothing is left behind", async () => {
    expect(only(await host.check("moving", mirrors()))).toMatch(
      /^ok - a change and its removal reached the target within \d s$/,
    );
    expect(await left()).toBe("0");
  });

  it("is a problem when nothing arrives and nothing is being copied", async () => {
    expect(only(await host.check("moving", still))).toBe(
      "problem moving a change in the source did not reach the target within 10 s, and nothing is being copied",
    );
    expect(await left()).toBe("0");
  });

  it("is not a problem while something is being copied, for up to an hour", async () => {
    const works = `${still} work_done() { echo $RANDOM$RANDOM; }; `;
    const since = (minutes: number) => `echo $(($(ticks) / 100 - ${minutes * 60})) >"$state/busy-since"; `;
    expect(only(await host.check("moving", works))).toBe(
      "ok - a new change is waiting behind others that are being copied",
    );
    expect(only(await host.check("moving", works + since(59)))).toMatch(/^ok/);
    expect(only(await host.check("moving", works + since(61)))).toMatch(
      /^problem moving-slow no change has reached the target for 61 minutes: a new change is waiting/,
    );
  });

  it("is not a problem for days during a first pass that makes progress", async () => {
    await host.write({ "lsyncd.status": "Sync1 source=/s/\nThere are 2 delays\nactive Init \nwait   Modify /a\n" });
    const moved = (work: number, ago: number) =>
      `${still} work_done() { echo 7; }; echo "${work} $(($(ticks) / 100 - ${ago}))" >"$state/first-pass"; `;
    expect(only(await host.check("moving", moved(6, 7200)))).toBe("ok - the first full pass is running");
    expect(only(await host.check("moving", moved(7, 300)))).toBe(
      "problem moving-stuck the first full pass is running, but has not moved for 5 minutes",
    );
  });

  it("is no first pass because a file is named like one in lsyncd's status", async () => {
    // As recorded from lsyncd 2.2.3 with a file "a<newline>active Init ".
    await host.write({
      "lsyncd.status":
        "Sync1 source=/s/\nThere are 2 delays\nwait   Create /a\nactive Init \nwait   Modify /a\nactive Init \n",
    });
    const late = `${still} work_done() { echo $RANDOM$RANDOM; }; echo $(($(ticks) / 100 - 3660)) >"$state/busy-since"; `;
    expect(only(await host.check("moving", late))).toMatch(/^problem moving-slow/);
  });

  it.each([
    ["volumes_outcome=", "skipped - see volumes"],
    [unit({ ActiveState: "inactive" }), "skipped - see service"],
    ['echo x >"$failover_mark"', "held - held for failover"],
    [`${alive()}\nprobe_name=no/such/place`, "problem source-unwritable the source cannot be written: "],
    [
      `${alive()}\nticks >"$run_dir/probe.lock"; exec 7>>"$run_dir/probe.lock"; flock 7`,
      "skipped - the check of a run that was killed is still under way",
    ],
  ])("makes no probe: %s", async (before, expected) => {
    expect(only(await host.check("moving", before))).toContain(expected);
    expect(await left()).toBe("0");
  });

  it("makes no probe for npm run status", async () => {
    const run = await host.check("moving", alive(), { probing: "0" });
    expect(only(run)).toBe("skipped - no probe in this run, see the last run");
    expect(await left()).toBe("0");
  });

  it("with a long delay, looks for one run's change in the next run", async () => {
    await host.write({ "lsyncd.conf.lua": "sync {\n    delay  = 60,\n}\n" });
    const made = await host.check("moving", alive());
    expect(only(made)).toBe("ok - made a change; the next run checks that it arrived");
    await host.write({ "target/.lsyncd-monitor-probe": made.remembered.probe ?? "" });
    expect(only(await host.check("moving", alive()))).toBe(
      "ok - the change made at the last run has reached the target",
    );
    await host.check("moving", alive());
    await rm(host.at("target/.lsyncd-monitor-probe"));
    expect(only(await host.check("moving", `${alive()}\nsleep() { :; }; work_done() { echo 1; }`))).toBe(
      "problem moving a change made in the last run has not reached the target",
    );
  });
});

describe("a process that holds leases on files of the source", () => {
  /** Leases three files in a directory as their owner, and opens one of them as rsync would, so that this waits. */
  const leased = (directory: string) => `mkdir -p ${directory} && chmod 755 "$folder" ${directory}
    touch ${directory}/{a,b,c} && chown nobody ${directory}/{a,b,c}
    setpriv --reuid nobody --clear-groups python3 -c "
import fcntl, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
files = [open(name, 'r+') for name in sys.argv[1:]]
for file in files: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
time.sleep(60)" ${directory}/{a,b,c} >/dev/null 2>&1 & holder=$!
    until grep -q "LEASE .* $holder " /proc/locks; do sleep 0.05; done
    echo $holder >"$folder/holder"
    cat ${directory}/a >/dev/null 2>&1 &
    until grep -q "LEASE  *BREAKING .* $holder " /proc/locks; do sleep 0.05; done\n`;
  const inSource = leased('"$folder/source/leased"');
  const still = `${alive()}\nwork_done() { echo 1; }; until_true() { "\${@:2}"; }; `;
  const named = async () =>
    `; process ${(await readFile(host.at("holder"), "utf8")).trim()} (python3, user nobody) holds leases on 3 files of ` +
    "the source, and copying waits up to 45 s for each: end that process";

  it("is named if nothing arrives", async () => {
    expect(only(await host.check("moving", inSource + still))).toBe(
      "problem moving a change in the source did not reach the target within 10 s, and nothing is being copied" +
        (await named()),
    );
  });

  it("is named with a backlog, and with databases that are behind", async () => {
    await host.write({ "lsyncd.status": "There are 101 delays\n" });
    expect(only(await host.check("backlog", `${inSource}sleep() { :; }; ${alive()}`))).toBe(
      `problem backlog 101 changes are pending (limit 100)${await named()}`,
    );
    await host.write({ "state/sqlite/status.tsv": `updated\t${now}\tpending\t1\n${now - 900}\terror\ta.sqlite\tx\n` });
    expect(only(await host.check("databases", inSource + alive()))).toContain(await named());
  });

  it("is not named if nothing is late, or for files elsewhere", async () => {
    await host.write({ "lsyncd.status": "There are 3 delays\n" });
    expect(only(await host.check("backlog", inSource + alive()))).toBe("ok - 3 changes are pending");
    const elsewhere = "/dev/shm/lsyncd-as-code-leases";
    await host.write({ "lsyncd.status": "There are 101 delays\n" });
    expect(only(await host.check("backlog", `${leased(elsewhere)}sleep() { :; }; ${alive()}`))).toBe(
      "problem backlog 101 changes are pending (limit 100)",
    );
    await rm(elsewhere, { recursive: true });
  });
});

describe("exceptions", () => {
  const mark = "since 2026-11-28 18:00:00 UTC, primary lost\nstate in-use\n";

  it("reports nothing when nothing is held, bypassed or disabled", async () => {
    expect(only(await host.check("exceptions"))).toBe("ok - nothing is held, bypassed or switched off");
  });

  it("reports a failover, and as a problem after a day without a second copy", async () => {
    await host.write({ "state/failover": mark });
    expect(only(await host.check("exceptions"))).toContain("held - the mirror is in use (since 2026-11-28");
    const later = { LSYNCD_MONITOR_NOW: String(Math.floor(Date.now() / 1000) + 3 * 86_400 + 60) };
    expect(only(await host.check("exceptions", "", later))).toMatch(
      /^problem failover-long there has been no second copy for 3 d: the mirror is in use/,
    );
  });

  it.each([3600, 2 * 86_400, 3650 * 86_400])(
    "reports it in time if the clock was %s s ahead when it began",
    async (ahead) => {
      await host.write({ "state/failover": mark });
      await utimes(host.at("state/failover"), now + ahead, now + ahead);
      const after = (days: number) => ({ LSYNCD_MONITOR_NOW: String(now + days * 86_400 + 60) });
      expect(only(await host.check("exceptions", "", after(0)))).toContain("held - the mirror is in use");
      expect(only(await host.check("exceptions", "", after(0.5)))).toContain("held - the mirror is in use");
      expect(only(await host.check("exceptions", "", after(1.1)))).toMatch(
        /^problem failover-long there has been no second copy for 1 d/,
      );
      // A later one begins anew.
      await rm(host.at("state/failover"));
      await host.check("exceptions", "", after(1.2));
      await host.write({ "state/failover": mark });
      await utimes(host.at("state/failover"), now + 2 * ahead + 3 * 86_400, now + 2 * ahead + 3 * 86_400);
      expect(only(await host.check("exceptions", "", after(1.5)))).toContain("held - the mirror is in use");
    },
  );

  it("reports a half-finished restore", async () => {
    await host.write({ "state/failover": mark.replace("in-use", "restoring") });
    expect(only(await host.check("exceptions"))).toContain("which is incomplete");
  });

  it("reports what is held or permitted, until it ends", async () => {
    await host.write({ held: "500 of 600 files would have been deleted\nmore\n", allow: "", accept: "" });
    const settings = 'held_file="$folder/held" allow_file="$folder/allow" accept_file="$folder/accept"';
    const { findings } = await host.check("exceptions", settings);
    expect(findings.map(({ verdict, text }) => `${verdict} ${text}`)).toEqual([
      "held nothing is mirrored: 500 of 600 files would have been deleted",
      expect.stringMatching(/^held deletions are not counted until the next full pass ends: allowed at /),
      expect.stringMatching(
        /^held the next pass takes the source as it is, also when it is older than its mirror: accepted at /,
      ),
    ]);
    await rm(host.at("held"));
    await rm(host.at("allow"));
    expect(only(await host.check("exceptions", settings))).toContain("held - the next pass takes the source");
    await rm(host.at("accept"));
    expect(only(await host.check("exceptions", settings))).toContain("ok - nothing is held");
  });
});

describe("the probe", () => {
  it.each([
    ["a symbolic link", `ln -s ../outside source/.lsyncd-monitor-probe`],
    ["a FIFO", `mkfifo source/.lsyncd-monitor-probe`],
    ["a hard link", `ln mine source/.lsyncd-monitor-probe`],
  ])("is made even if a user has put %s in its place, and writes nowhere else", async (_, put) => {
    await run("bash", ["-c", `cd '${host.folder}' && echo precious >outside && echo mine >mine && ${put}`]);
    const before = `${alive()}\narrived() { cp -f "$folder/source/$probe_name" "$folder/made"; }; gone() { :; }`;
    expect(only(await host.check("moving", before))).toContain("ok - a change and its removal reached the target");
    expect(await readFile(host.at("outside"), "utf8")).toBe("precious\n");
    expect(await readFile(host.at("mine"), "utf8")).toBe("mine\n");
    expect(await readFile(host.at("made"), "utf8")).toMatch(/^\d+ \d+ \d+\n$/);
  });

  it("is not made if a directory is in its place, and the directory stays", async () => {
    await run("bash", ["-c", `mkdir '${host.at("source/.lsyncd-monitor-probe")}'`]);
    expect(only(await host.check("moving", alive()))).toMatch(/^problem source-unwritable .* is a directory$/);
    await run("rmdir", [host.at("source/.lsyncd-monitor-probe")]);
  });
});
