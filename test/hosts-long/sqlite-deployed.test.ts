import { committed, databases, inspect, installApplication, type Content } from "../../tools/drill/application";
import { boot, execOn, mount, powerCut, reboot, setAtBoot, umount, until } from "../../tools/sandbox";
import { eventually, failed, on, prepare, succeeded, type Deployment } from "../support/deployment";

jest.setTimeout(600_000);

let d: Deployment;
const copy = "/var/tmp/mirror-copy";
/** Where the worker makes its copies. */
const copies = (): string => `${d.host.target}/.lsyncd-as-code/copies`;
const worker = "pgrep -f '[l]syncd-as-code/sqlite-copier'";

/** Copies the mirror while all its writers are stopped, as if the primary were lost at this moment. */
async function frozenMirror(): Promise<void> {
  await on(
    d.host,
    `pids=$(cat /sys/fs/cgroup/{,systemd/,unified/}system.slice/lsyncd.service/cgroup.procs 2>/dev/null | sort -u)
     kill -STOP $pids 2>/dev/null
     rm -rf ${copy} && cp -a ${d.host.target} ${copy}
     kill -CONT $pids 2>/dev/null; true`.replace(/^/, "exec 2>&1; "),
  );
}

const faults = (contents: Content[]): string[] =>
  contents.flatMap(({ path, fault }) => (fault === undefined ? [] : [`${path}: ${fault}`]));

/** The mirror's databases as they are at this moment. */
async function mirrored(): Promise<Content[]> {
  await frozenMirror();
  return inspect(d.host, copy);
}

/** Waits until the mirror holds what is committed now in every database, or in those given. Returns the seconds. */
async function caughtUp(seconds: number, paths = databases): Promise<number> {
  const began = Date.now();
  const expected = await committed(d.host);
  await eventually(async () => {
    const contents = await mirrored();
    expect(faults(contents)).toEqual([]);
    return contents
      .filter(({ path }) => paths.includes(path))
      .every(({ path, n }) => n >= (expected.get(path)?.n ?? 0));
  }, seconds);
  return (Date.now() - began) / 1000;
}

const application = (action: string): Promise<string> => on(d.host, `systemctl ${action} application`);
const writing = async (): Promise<void> => {
  const from = Date.now() / 1000;
  await until("the application commits", 30_000, async () =>
    [...(await committed(d.host)).values()].every(({ time }) => time >= from),
  );
};

beforeAll(async () => {
  d = await prepare("sqlite", { volumeSizeMb: 256 });
  await installApplication(d.host);
  succeeded(await d.stack.up());
  await application("start");
  await writing();
  await caughtUp(60);
});
afterAll(async () => {
  await d.remove();
});

describe("databases that an application keeps open and writes to", () => {
  it("are mirrored within a few seconds", async () => {
    expect(await caughtUp(15)).toBeLessThan(8);
  });

  it("can be opened in the mirror at any moment, in a state that was committed a few seconds ago", async () => {
    const ages: number[] = [];
    for (let sample = 0; sample < 30; sample += 1) {
      await new Promise((done) => setTimeout(done, Math.random() * 700));
      await frozenMirror();
      const frozen = Date.now() / 1000;
      const contents = await inspect(d.host, copy);
      expect(faults(contents)).toEqual([]);
      ages.push(...contents.map(({ time }) => frozen - time));
    }
    expect(Math.max(...ages)).toBeLessThan(8);
  });

  it("do not block any writer", async () => {
    expect(await on(d.host, "systemctl is-active application")).toBe("active");
    expect(await on(d.host, "journalctl -u application -q -o cat | grep -ic -e locked -e busy; true")).toBe("0");
  });

  it("are reported intact by lsyncd-verify in the meantime, and a damaged copy is not", async () => {
    expect(await on(d.host, "lsyncd-verify --full")).toMatch(/6 databases: 0 faults, 0 not checked$/);
    await application("stop");
    await caughtUp(20);
    await on(d.host, `printf broken | dd of=${d.host.target}/accounts.sqlite bs=1 seek=4100 conv=notrunc status=none`);
    const { code, stdout } = await execOn(d.host, "lsyncd-verify --full", { allowFailure: true });
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^FAULT accounts.sqlite: SQLite reports: /m) as string]);
    await application("start");
    await caughtUp(20);
  });
});

describe("scheduled verification", () => {
  const timer = (property: string): Promise<string> =>
    on(d.host, `systemctl show -p ${property} --value lsyncd-verify.timer`);
  const monitor = (): Promise<string> => on(d.host, "lsyncd-monitor.sh || true");
  // At idle priority, which gets little on a busy machine.
  const scheduled = (): Promise<string> => on(d.host, "systemctl start lsyncd-verify.service", { timeoutMs: 500_000 });

  it("runs from a timer that follows the setting, and a change of the setting restarts no lsyncd", async () => {
    const lsyncd = await on(d.host, "systemctl show -p MainPID --value lsyncd");
    await d.configure({ verifySchedule: "Sun 03:00" });
    succeeded(await d.stack.up());
    expect(await timer("ActiveState")).toBe("active");
    expect(await timer("TimersCalendar")).toContain("Sun *-*-* 03:00:00");
    await d.configure({ verifySchedule: "daily" });
    succeeded(await d.stack.up());
    expect(await timer("TimersCalendar")).toContain("OnCalendar=*-*-* 00:00:00");
    expect(await on(d.host, "systemctl show -p MainPID --value lsyncd")).toBe(lsyncd);
  });

  it("rejects a time that systemd does not understand, and keeps the old one", async () => {
    await d.configure({ verifySchedule: "every now and then" });
    expect(failed(await d.stack.up())).toMatch(/systemd (refuses|warns about) .*lsyncd-verify.timer/);
    expect(await timer("TimersCalendar")).toContain("OnCalendar=*-*-* 00:00:00");
  });

  it("is reported by the monitor", async () => {
    await scheduled();
    expect(await monitor()).toMatch(/^ok +verify +lsyncd-verify found no fault at 2/m);
    await application("stop");
    await caughtUp(20);
    await on(d.host, `printf broken | dd of=${d.host.target}/accounts.sqlite bs=1 seek=4100 conv=notrunc status=none`);
    await on(d.host, "lsyncd-verify --full || true");
    expect(await monitor()).toMatch(/^PROBLEM +verify +1 faults in the mirror at .*: accounts.sqlite: SQLite reports/m);
    // The scheduled one repairs it.
    await scheduled();
    expect(await monitor()).toMatch(/^ok +verify /m);
    await application("start");
    await caughtUp(20);
  });

  it("is skipped while a volume is missing, instead of reporting every file as missing", async () => {
    await application("stop");
    const result = "cat /var/lib/lsyncd-as-code/sqlite/verify.tsv";
    const before = await on(d.host, result);
    await umount(d.host, "source", { lazy: true });
    await on(d.host, "systemctl start lsyncd-verify.service || true");
    expect(await on(d.host, result)).toBe(before);
    expect(await on(d.host, "systemctl is-failed lsyncd-verify.service || true")).toBe("inactive");
    await mount(d.host, "source");
    await application("start");
    await caughtUp(45);
  });

  it("is removed with the setting", async () => {
    await d.configure({ verifySchedule: "" });
    succeeded(await d.stack.up());
    expect(await timer("ActiveState")).toBe("inactive");
    expect(await on(d.host, "ls /etc/systemd/system | grep -c verify || true")).toBe("0");
  });
});

describe("the copier", () => {
  it("is restarted after a kill -9", async () => {
    for (let round = 0; round < 5; round += 1) {
      await eventually(async () => (await on(d.host, `${worker} >/dev/null && kill -9 $(${worker}); echo $?`)) === "0");
      expect(faults(await mirrored())).toEqual([]);
    }
    expect(await caughtUp(20)).toBeLessThan(15);
    expect(await on(d.host, `find ${copies()} -mindepth 1 -mmin +1`)).toBe("");
  });

  it("ends with lsyncd, and the next one continues the remaining work", async () => {
    await on(d.host, "systemctl stop lsyncd");
    expect(await on(d.host, `${worker} | wc -l`)).toBe("0");
    const before = await on(
      d.host,
      `find ${d.host.target} -type f -not -path '*/.lsyncd-as-code/*' -printf '%p %s %T@\\n' | sort | sha256sum`,
    );
    await writing();
    expect(
      await on(
        d.host,
        `find ${d.host.target} -type f -not -path '*/.lsyncd-as-code/*' -printf '%p %s %T@\\n' | sort | sha256sum`,
      ),
    ).toBe(before);
    await on(d.host, "systemctl start lsyncd");
    await caughtUp(20);
  });

  it("continues after a reboot", async () => {
    await reboot(d.host);
    await application("start");
    await writing();
    await caughtUp(30);
  });

  it("after a power cut under load, leaves a mirror that opens and is no older than before, and continues", async () => {
    for (let round = 0; round < 3; round += 1) {
      const before = await mirrored();
      // The source stays locked at the next boot, so that the target's disk is inspected before anything changes it.
      await setAtBoot(d.host, "source", "locked");
      await new Promise((done) => setTimeout(done, Math.random() * 3000));
      await powerCut(d.host);
      await boot(d.host);
      const after = await mirrored();
      expect(faults(after)).toEqual([]);
      for (const { path, n } of before) expect(after.find((one) => one.path === path)?.n).toBeGreaterThanOrEqual(n);
      await setAtBoot(d.host, "source", "auto");
      await mount(d.host, "source");
      await application("start");
      await writing();
      await caughtUp(45);
    }
  });
});

describe("a source that is unmounted during a copy", () => {
  it("loses nothing, and is mirrored again once it is back", async () => {
    for (let round = 0; round < 3; round += 1) {
      const before = await mirrored();
      // A copy is under way when the worker's own files are in the mirror, often only for some hundredths of a second, so
      // the host itself waits for it. A busy volume can only be unmounted lazily.
      await on(d.host, `timeout 20 sh -c 'until ls "$0" | grep -q .; do :; done' ${copies()}`);
      await umount(d.host, "source", { lazy: true });
      await application("stop");
      await new Promise((done) => setTimeout(done, 2500));
      const after = await mirrored();
      expect(faults(after)).toEqual([]);
      for (const { path, n } of before) expect(after.find((one) => one.path === path)?.n).toBeGreaterThanOrEqual(n);
      await mount(d.host, "source");
      await application("start");
      await writing();
      await caughtUp(45);
    }
  });
});

describe("a full target", () => {
  it("keeps the last good copies, reports the problem, and recovers", async () => {
    const before = await mirrored();
    await on(d.host, `cat /dev/zero >${d.host.target}/lost+found/fill 2>/dev/null || true`);
    await writing();
    await new Promise((done) => setTimeout(done, 6000));
    const during = await mirrored();
    expect(faults(during)).toEqual([]);
    for (const { path, n } of before) expect(during.find((one) => one.path === path)?.n).toBeGreaterThanOrEqual(n);
    expect(await on(d.host, "cat /var/lib/lsyncd-as-code/sqlite/status.tsv")).toMatch(/\t(space|error)\t/);
    await on(d.host, `rm ${d.host.target}/lost+found/fill`);
    expect(await caughtUp(90)).toBeLessThan(60);
  });
});

describe("with sqliteSafe false", () => {
  it("rsync mirrors databases as documented: not while they are open", async () => {
    await d.configure({ sqliteSafe: false });
    succeeded(await d.stack.up());
    expect(await on(d.host, "cat /etc/lsyncd/lsyncd.conf.lua")).not.toContain("inotifyMode");
    expect(await on(d.host, "grep '^copy_program' /etc/lsyncd/mirror.conf")).toContain("/usr/bin/rsync");
    expect(await on(d.host, "ls /usr/local/lib/lsyncd-as-code/LsyncdAsCode")).not.toContain("Copy.pm");
    await writing();
    await new Promise((done) => setTimeout(done, 4000));
    const expected = await committed(d.host);
    const size = (root: string): Promise<string> => on(d.host, `stat -c %Y ${root}/mail/customer-3.sqlite`);
    await writing();
    await new Promise((done) => setTimeout(done, 4000));
    // An ordinary file arrives, the open database does not.
    await on(d.host, `date >${d.host.source}/ordinary`);
    const why = (): Promise<string> =>
      on(
        d.host,
        "systemctl status lsyncd --no-pager; cat /var/lib/lsyncd-as-code/held; journalctl -u lsyncd -n 40 -o cat",
        {
          allowFailure: true,
        },
      );
    await eventually(() => on(d.host, `cmp ${d.host.source}/ordinary ${d.host.target}/ordinary && echo yes`), 30, why);
    expect(Number(await size(d.host.target))).toBeLessThan(Number(await size(d.host.source)) - 3);
    expect(expected.size).toBe(databases.length);
    await application("stop");
    await eventually(async () => (await size(d.host.target)) === (await size(d.host.source)), 30, why);
  });
});
