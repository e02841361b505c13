import { readFileSync } from "node:fs";
import { parseKeys, parseTarget } from "../../cli/hosts-scan/scan";
import { readStatus, unknownStatus } from "../../cli/status/read";
import { bytes, duration, statusText } from "../../cli/status/report";
import { hostStatus, statusSchema, type HostStatus } from "../../cli/status/schema";
import { hostKey, hostOf } from "./support/settings";

const printed = (more: string[] = [], without?: RegExp): string =>
  [
    "deployed\tyes",
    "check\tvolumes\tok\tboth are mounted",
    "check\tservice\tok\tlsyncd.service is running, process 7",
    "check\tmoving\tskipped\tno probe in this run",
    ...Object.entries({
      ...{ state: "active", substate: "running", state_seconds: 90_000, restarts: 0, backlog: 2, behind_seconds: 1 },
      ...{ watches: 10, watches_limit: 1000, memory_bytes: 5242880, memory_limit_bytes: 1073741824 },
      ...{ disk_percent: 40, inodes_percent: 3, disk_free_bytes: 1073741824, databases_waiting: 3 },
      ...{ monitor: 0, monitor_seconds: 60 },
    }).map(([name, value]) => `value\t${name}\t${String(value)}`),
    ...more,
    "end\tyes",
    "",
  ]
    .filter((line) => !without?.test(line))
    .join("\n");
const read = (more: string[] = [], without?: RegExp): HostStatus => readStatus(hostOf(), printed(more, without));

describe("a host's status", () => {
  it("is healthy when nothing is wrong", () => {
    expect(read()).toMatchObject({
      healthy: true,
      problems: [],
      lsyncd: { state: "active", seconds: 90_000, restarts: 0 },
      checks: { volumes: { verdict: "ok", text: "both are mounted" } },
      memory: { used: 5242880, limit: 1073741824 },
      databases: { waiting: 3 },
      monitor: { verdict: "ok", seconds: 60, says: [] },
      drift: [],
    });
  });

  it.each([
    [["check\tdisk\tproblem\tthe target is 91 % full"], "disk: the target is 91 % full"],
    [["check\tjournal\tunknown\tcannot be read"], "journal: cannot be read"],
    [["last\tPROBLEM moving nothing arrives"], "the monitor reports: PROBLEM moving nothing arrives"],
    [["drift\t/etc/x has other content"], "changed by hand: /etc/x has other content"],
    [["value\theld\tfailover: since today"], "the mirror is held, failover: since today"],
  ])("is unhealthy with %j", (more, problem) => {
    const { healthy, problems } = read(more);
    expect(problems).toEqual([problem]);
    expect(healthy).toBe(false);
  });

  it("omits unknown values and numbers that were not printed", () => {
    const { lsyncd, memory, backlog, monitor } = read(
      [],
      /\t(restarts|memory_limit_bytes|backlog|monitor|monitor_seconds)\t/,
    );
    expect({ lsyncd, memory, backlog, monitor }).toStrictEqual({
      lsyncd: { state: "active", seconds: 90_000 },
      memory: { used: 5242880 },
      backlog: undefined,
      monitor: { verdict: "never ran", says: [] },
    });
  });

  it("shows until when alerts are paused, which is not a problem", () => {
    const paused = read(["value\tpaused\t2027-01-15 12:00:00 +0000"]);
    expect(paused.healthy).toBe(true);
    expect(statusText([paused])).toMatch(
      / ok 1m0s ago, paused +[^]*\nsqlite-1: alerts are paused until 2027-01-15 12:00:00 \+0000\n\nall 1 healthy$/,
    );
  });

  it("shows what is held, bypassed or disabled, which is not a problem by itself", () => {
    const status = read(["check\texceptions\theld\tdeletions are not counted until the next full pass is done"]);
    expect(status.healthy).toBe(true);
    expect(statusText([status])).toContain(
      "\nsqlite-1: held, bypassed or switched off: deletions are not counted until the next full pass is done\n",
    );
  });

  it("shows that a deployment blocks the monitor, and nothing else", () => {
    expect(
      read(["value\tmonitor\theld", "check\talerts\theld\ta deployment changes this host"], /monitor\t0/),
    ).toMatchObject({
      healthy: true,
      monitor: { verdict: "held" },
    });
  });

  it("is unhealthy without a deployment, with a truncated answer, or with a monitor of another version", () => {
    expect(readStatus(hostOf(), "deployed\tno\n").problems).toEqual(["nothing is deployed here: npm run up"]);
    expect(readStatus(hostOf(), "deployed\tyes\nvalue\tstate\tactive\n").problems).toEqual([
      "the answer was cut short",
    ]);
    expect(readStatus(hostOf(), "deployed\tyes\nunasked\tIs the mirror healthy?\nend\tyes\n").problems).toEqual([
      "its monitor gave no answer (another version? npm run up): Is the mirror healthy?",
    ]);
  });
});

it("the table has a row for each host, and the problems below it", () => {
  const text = statusText([read(), unknownStatus(hostOf({ name: "b" }), "cannot be reached: timeout")]);
  expect(text).toMatch(
    /^sqlite-1 {2}ok +active +1d1h +0 +ok +2 +1s +3 +40% 1\.0G free +10\/1000 +5\.0M\/1\.0G +ok 1m0s ago +none +-$/m,
  );
  expect(text).toMatch(/^b +PROBLEM( +-)+$/m);
  expect(text).toContain("\nb: cannot be reached: timeout\n\n1 of 2 not healthy. More: docs/troubleshooting.md");
});

describe("docs/status.schema.json", () => {
  it("describes the output of npm run status -- --json", () => {
    expect(JSON.parse(readFileSync("docs/status.schema.json", "utf8"))).toEqual(statusSchema());
    for (const status of [read(), read([], /\t(value|check)\t/), read(["drift\tx"]), unknownStatus(hostOf(), "why")])
      expect(hostStatus.parse(JSON.parse(JSON.stringify(status)))).toEqual(status);
    expect(hostStatus.safeParse({ ...read(), more: 1 }).success).toBe(false);
  });
});

it("durations and sizes are short", () => {
  expect([0, 59, 3600, 90_061, undefined].map(duration)).toEqual(["0s", "59s", "1h0m", "1d1h", "-"]);
  expect([0, 1023, 1536, 10 * 2 ** 30, undefined].map(bytes)).toEqual(["0B", "1023B", "1.5K", "10G", "-"]);
});

describe("npm run hosts:scan", () => {
  it.each([
    ["db.example.com", "db.example.com", 22],
    ["192.0.2.1:2222", "192.0.2.1", 2222],
    ["2001:db8::1", "2001:db8::1", 22],
    ["[2001:db8::1]:2222", "2001:db8::1", 2222],
  ])("parses %s", (target, address, port) => {
    expect(parseTarget(target)).toEqual({ address, port });
  });

  it.each(["-oProxyCommand=x", "a b", "a:0", "a:99999", "[a"])("refuses %s", (target) => {
    expect(() => parseTarget(target)).toThrow(/not ADDRESS or ADDRESS:PORT/);
  });

  it("shows the best key first, with the same fingerprint as ssh-keygen", () => {
    const keys = parseKeys(`# a:22 SSH-2.0\n[a]:22 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ==\n[a]:22 ${hostKey}\n`);
    expect(keys.map(({ type }) => type)).toEqual(["ssh-ed25519", "ssh-rsa"]);
    expect(keys[0]).toMatchObject({
      key: hostKey,
      fingerprint: expect.stringMatching(/^SHA256:[\w+/]{43}$/) as string,
    });
  });
});
