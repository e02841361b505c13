import { parseKeys, parseTarget } from "../../cli/hosts-scan/scan";
import { bytes, duration, readStatus, statusText, unknownStatus } from "../../cli/status/report";
import { hostKey, hostOf } from "./support/settings";

const now = 1_800_000_000;
const healthy: Record<string, string> = {
  deployed: "yes",
  state: "active",
  substate: "running",
  since: String(now - 90_000),
  restarts: "0",
  source: "ok",
  target: "ok",
  backlog: "2",
  behind: "1",
  watches: "10",
  "watches-limit": "1000",
  error: "",
  memory: "5242880",
  "memory-limit": "1073741824",
  "disk-free": "1073741824",
  disk: "40",
  inodes: "3",
  timer: "active",
  "timer-age": "90000",
  "monitor-age": "60",
  monitor: "0",
  "monitor-says": "",
  end: "yes",
};
const printed = (more: Record<string, string> = {}): string =>
  Object.entries({ ...healthy, ...more })
    .map(([key, value]) => `${key}\t${value}\n`)
    .join("");
const read = (more: Record<string, string> = {}) => readStatus(hostOf(), printed(more), now);

describe("a host's status", () => {
  it("is healthy when nothing is wrong", () => {
    expect(read()).toMatchObject({
      healthy: true,
      problems: [],
      lsyncd: { state: "active", seconds: 90_000, restarts: 0 },
      memory: { used: 5242880, limit: 1073741824 },
      monitor: { verdict: "ok", seconds: 60 },
      drift: [],
    });
  });

  it.each([
    [{ state: "inactive", substate: "dead" }, "lsyncd is inactive (dead)"],
    [{ source: "not mounted" }, "source volume: not mounted"],
    [{ target: "read-only" }, "target volume: read-only"],
    [{ backlog: "101" }, "101 changes wait (limit 100)"],
    [{ disk: "91" }, "the target is 91 % full (limit 90 %)"],
    [{ inodes: "100" }, "the target is 100 % full (limit 90 %)"],
    [{ watches: "950" }, "inotify watches are running out"],
    [{ memory: "1073741823" }, "lsyncd is near its memory limit"],
    [{ timer: "inactive" }, "the monitor's timer is not running"],
    [{ monitor: "1", "monitor-says": "PROBLEM disk full" }, "the monitor says: PROBLEM disk full"],
    [{ monitor: "2" }, "the monitor could not check the host"],
    [{ "monitor-age": "4000" }, "the monitor last ran 1h6m ago"],
    [{ "monitor-age": "", monitor: "" }, "the monitor has not run since the boot"],
    [{ monitor: "failed" }, "the monitor could not check the host"],
    [{ drift: "/etc/x has other content" }, "changed by hand: /etc/x has other content"],
    [{ held: "failover: since today" }, "the mirror is held, failover: since today"],
  ])("is not with %j", (more, problem) => {
    const { healthy: fine, problems } = read(more);
    expect(problems).toEqual([problem]);
    expect(fine).toBe(false);
  });

  it("has every finding of the monitor, and until when its alerts are paused, which is no trouble", () => {
    const { problems } = readStatus(
      hostOf(),
      printed({ monitor: "1", "monitor-says": "PROBLEM disk full\nmonitor-says\tPROBLEM moving no", paused: "noon" }),
      now,
    );
    expect(problems).toEqual(["the monitor says: PROBLEM disk full", "the monitor says: PROBLEM moving no"]);
    const paused = read({ paused: "2027-01-15 12:00:00 +0000" });
    expect(paused.healthy).toBe(true);
    expect(statusText([paused])).toMatch(
      / ok 1m0s ago, paused +[^]*\nsqlite-1: alerts are paused until 2027-01-15 12:00:00 \+0000\n\nall 1 healthy$/,
    );
  });

  it("shows what is held, bypassed or switched off, which is no problem by itself", () => {
    const status = read({
      "monitor-says": "held exceptions deletions are not counted until the next full pass is done",
    });
    expect(status.healthy).toBe(true);
    expect(statusText([status])).toContain(
      "\nsqlite-1: held, bypassed or switched off: deletions are not counted until the next full pass is done\n",
    );
  });

  it("says of a monitor that was held by a deployment just that, and nothing of one that is still to run", () => {
    expect(read({ monitor: "held" })).toMatchObject({ healthy: true, monitor: { verdict: "held" } });
    expect(read({ monitor: "", "monitor-age": "", "timer-age": "30" })).toMatchObject({
      healthy: true,
      monitor: { verdict: "never ran" },
    });
  });

  it("is not when there is no deployment, or the answer is not whole", () => {
    expect(readStatus(hostOf(), "deployed\tno\n", now).problems).toEqual(["nothing is deployed here: npm run up"]);
    expect(readStatus(hostOf(), "deployed\tyes\nstate\tactive\n", now).problems).toEqual([
      "it was cut short while it was asked",
    ]);
  });
});

it("one table has a row for each host, and what is wrong below it", () => {
  const text = statusText([read(), unknownStatus(hostOf({ name: "b" }), "cannot be reached: timeout")]);
  expect(text).toMatch(
    /^sqlite-1 {2}ok +active +1d1h +0 +ok +2 +1s +40% 1\.0G free +10\/1000 +5\.0M\/1\.0G +ok 1m0s ago +none +-$/m,
  );
  expect(text).toMatch(/^b +PROBLEM( +-)+$/m);
  expect(text).toContain(
    "\nb: cannot be reached: timeout\n\n1 of 2 not healthy. More: docs/operations.md#troubleshooting",
  );
});

it("spans and sizes are short", () => {
  expect([0, 59, 3600, 90_061, undefined].map(duration)).toEqual(["0s", "59s", "1h0m", "1d1h", "-"]);
  expect([0, 1023, 1536, 10 * 2 ** 30, undefined].map(bytes)).toEqual(["0B", "1023B", "1.5K", "10G", "-"]);
});

describe("npm run hosts:scan", () => {
  it.each([
    ["db.example.com", "db.example.com", 22],
    ["192.0.2.1:2222", "192.0.2.1", 2222],
    ["2001:db8::1", "2001:db8::1", 22],
    ["[2001:db8::1]:2222", "2001:db8::1", 2222],
  ])("reads %s", (target, address, port) => {
    expect(parseTarget(target)).toEqual({ address, port });
  });

  it.each(["-oProxyCommand=x", "a b", "a:0", "a:99999", "[a"])("refuses %s", (target) => {
    expect(() => parseTarget(target)).toThrow(/not an address/);
  });

  it("shows the best key first, with the fingerprint that ssh-keygen shows", () => {
    const keys = parseKeys(`# a:22 SSH-2.0\n[a]:22 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ==\n[a]:22 ${hostKey}\n`);
    expect(keys.map(({ type }) => type)).toEqual(["ssh-ed25519", "ssh-rsa"]);
    expect(keys[0]).toMatchObject({
      key: hostKey,
      fingerprint: expect.stringMatching(/^SHA256:[\w+/]{43}$/) as string,
    });
  });
});
