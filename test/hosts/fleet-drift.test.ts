import { markJournal, sshSince, watchSshd } from "../../tools/bench/deploy/hosts";
import type { SshUse } from "../../tools/bench/deploy/sshd";
import { boot, powerOff } from "../../tools/sandbox";
import { failed, mirrored, on, prepare, succeeded, type Deployment } from "../support/deployment";

jest.setTimeout(400_000);

let d: Deployment;
const up = async (args: string[] = []): Promise<string> => succeeded(await d.stack.up(["--skip-preview", ...args]));
const on1 = (command: string): Promise<string> => on(d.host, command);
const limitFile = "/proc/sys/fs/inotify/max_user_watches";

/** The output of a run, and the number of the host's SSH connections for it, by the server's own log. */
async function counted(run: () => Promise<string>): Promise<{ text: string; use: SshUse }> {
  const mark = await markJournal(d.host);
  const text = await run();
  return { text, use: await sshSince(d.host, mark) };
}

let first: SshUse;
beforeAll(async () => {
  d = await prepare("drift", { volumeSizeMb: 64 });
  // The limit belongs to the whole machine and is read-only in a container, but a file in its place is writable.
  await on1(`echo mail >${d.host.source}/mail; echo 600000 >/run/watches; mount --bind /run/watches ${limitFile}`);
  await watchSshd(d.host);
  // As many as a busy server accepts before a login.
  await on1("echo 'MaxStartups 2:50:4' >/etc/ssh/sshd_config.d/few.conf; systemctl restart ssh");
  first = (await counted(up)).use;
});
afterAll(async () => {
  await d.remove();
});

/** A manual change, what a preview says of it, and how to check that it was repaired. */
const changes: [change: string, shown: string, look: string, repaired: string][] = [
  [
    "echo '-- by nobody' >>/etc/lsyncd/lsyncd.conf.lua",
    "/etc/lsyncd/lsyncd.conf.lua has other content",
    "grep -c 'by nobody' /etc/lsyncd/lsyncd.conf.lua || true",
    "0",
  ],
  [
    "chmod 0700 /usr/local/bin/lsyncd-monitor.sh",
    "/usr/local/bin/lsyncd-monitor.sh has mode 0700 instead of 0755",
    "stat -c %a /usr/local/bin/lsyncd-monitor.sh",
    "755",
  ],
  [
    "chown admin /etc/lsyncd/alerts.conf",
    "/etc/lsyncd/alerts.conf belongs to admin:root instead of root:root",
    "stat -c %U /etc/lsyncd/alerts.conf",
    "root",
  ],
  [
    "rm /etc/logrotate.d/lsyncd-as-code",
    "/etc/logrotate.d/lsyncd-as-code is missing",
    "ls /etc/logrotate.d/lsyncd-as-code",
    "/etc/logrotate.d/lsyncd-as-code",
  ],
  [
    "systemctl disable --now lsyncd-monitor.timer",
    "lsyncd-monitor.timer is not running",
    "systemctl is-enabled lsyncd-monitor.timer && systemctl is-active lsyncd-monitor.timer",
    "enabled\nactive",
  ],
  [
    "systemctl disable lsyncd",
    "lsyncd.service is disabled, not enabled",
    "systemctl is-enabled lsyncd 2>/dev/null",
    "enabled",
  ],
  [
    "echo 1000 >/run/watches",
    "fs.inotify.max_user_watches is 1000, less than the 524288 that the source needs",
    `cat ${limitFile}`,
    "524288",
  ],
];

const quiet = /^(?![^]*\d+ (created|updated|deleted|replaced))/;

it("is none after a deployment", async () => {
  expect(await up()).toMatch(quiet);
  expect(await d.stack.state()).not.toContain("PRIVATE KEY");
});

describe("the number of connections to a host", () => {
  it("is one in each phase of a run that changes nothing", async () => {
    const preview = await counted(async () => succeeded(await d.stack.preview()));
    expect(preview.use).toMatchObject({ connections: 1, sessions: 1 });
    const update = await counted(up);
    expect(update.text).toMatch(quiet);
    expect(update.use).toMatchObject({ connections: 1, sessions: 1 });
  });

  it("is four in a first deployment, one after the other, so a strict server or firewall accepts them", () => {
    expect(first).toMatchObject({ connections: 4, sessions: 4 });
  });

  it("is three when one setting changes", async () => {
    await d.configure({ delay: 5 });
    const preview = await counted(async () => succeeded(await d.stack.preview()));
    expect(preview.text).toMatch(/\+\s+delay\s+= 5,/);
    expect(preview.use).toMatchObject({ connections: 1, sessions: 1 });
    const update = await counted(up);
    expect(update.text).toMatch(/2 updated/);
    expect(update.use).toMatchObject({ connections: 3, sessions: 3 });
    expect(await on1("grep -c 'delay *= 5' /etc/lsyncd/lsyncd.conf.lua")).toBe("1");
  });
});

it("is shown completely by a preview", async () => {
  for (const [change] of changes) await on1(change);
  const text = succeeded(await d.stack.preview());
  for (const [, shown] of changes) expect(text).toContain(shown);
  // For a file, including the changed lines, in the direction of the repair.
  expect(text).toMatch(/^ +---? by nobody$/m);
  expect(text).toMatch(/~ 2 to update/);
  // A preview repairs nothing.
  expect(await on1("systemctl is-active lsyncd-monitor.timer || true")).toBe("inactive");
});

it("is repaired, and the next run changes nothing", async () => {
  const text = await up();
  for (const [, , look, repaired] of changes) expect(await on1(look)).toBe(repaired);
  expect(text).toMatch(/2 updated/);
  expect(text).not.toMatch(/preflight updated/);
  expect(await up()).toMatch(quiet);
  expect(await up(["--refresh"])).toMatch(quiet);
});

it("is repaired a second time when it occurs again, and a refresh does not affect that", async () => {
  await on1("echo '-- by nobody' >>/etc/lsyncd/lsyncd.conf.lua");
  expect(succeeded(await d.stack.preview(["--refresh"]))).toMatch(/~ 2 to update/);
  expect(await up(["--refresh"])).toMatch(/2 updated/);
  expect(await on1("grep -c 'by nobody' /etc/lsyncd/lsyncd.conf.lua || true")).toBe("0");
  expect(await up()).toMatch(quiet);
});

it("is shown without a file's lines if the file may contain a password", async () => {
  await on1("echo 'hunter2' >>/etc/lsyncd/alerts.conf");
  const text = succeeded(await d.stack.preview());
  expect(text).toContain("/etc/lsyncd/alerts.conf has other content");
  expect(text).not.toContain("hunter2");
  await up();
});

it("does not restart lsyncd unless it affects lsyncd", async () => {
  const pid = await on1("systemctl show -p MainPID --value lsyncd");
  await on1("chmod 0700 /usr/local/bin/lsyncd-monitor.sh");
  expect(await up()).toMatch(/2 updated/);
  expect(await on1("stat -c %a /usr/local/bin/lsyncd-monitor.sh")).toBe("755");
  expect(await on1("systemctl show -p MainPID --value lsyncd")).toBe(pid);
});

it("includes a removed package, which takes the service with it", async () => {
  await on1("DEBIAN_FRONTEND=noninteractive apt-get -q -y purge lsyncd >/dev/null 2>&1");
  expect(succeeded(await d.stack.preview())).toContain("package lsyncd is not installed");
  await up();
  await on1(`echo again >${d.host.source}/again`);
  await mirrored(d.host);
  expect(await on1(`cat ${d.host.target}/again`)).toBe("again");
});

// After a package that came back, which is no reason to start it ever after.
it.each(["stop", "disable --now", "mask --now"])(
  "does not include a service that an operator stopped with %s",
  async (how) => {
    await on1(`systemctl ${how} lsyncd`);
    expect(await up()).toMatch(quiet);
    // Another repair does not start it either.
    await on1("chmod 0700 /usr/local/bin/lsyncd-monitor.sh");
    expect(await up()).toContain("was stopped by an operator and stays stopped; start it with: systemctl ");
    expect(await on1("stat -c %a /usr/local/bin/lsyncd-monitor.sh; systemctl is-active lsyncd || true")).toBe(
      "755\ninactive",
    );
    await on1("systemctl unmask lsyncd; systemctl enable --now lsyncd");
    expect(await up()).toMatch(quiet);
  },
);

it("does not include a service that is held by a mark", async () => {
  await on1("lsyncd-failover begin a test");
  expect(await up()).toMatch(quiet);
  await on1("lsyncd-failover end --keep source");
});

it("includes everything that was deployed when nothing is left, and one deployment restores it", async () => {
  // As on a reinstalled host: only the volumes are the same.
  await on1(`systemctl disable --now lsyncd lsyncd-monitor.timer; rm -rf /var/lib/lsyncd-as-code /etc/lsyncd \
    /usr/local/lib/lsyncd-as-code /usr/local/bin/lsyncd-monitor.sh /etc/systemd/system/lsyncd*; systemctl daemon-reload
    find ${d.host.target} -mindepth 1 -not -name lost+found -delete`);
  await up();
  await mirrored(d.host);
  expect(await on1(`cat ${d.host.target}/mail`)).toBe("mail");
  expect(await up()).toMatch(quiet);
});

it("is unknown for an unreachable host, which is a warning in a preview and an error in an update", async () => {
  await powerOff(d.host);
  const text = succeeded(await d.stack.preview());
  expect(text).toContain("could not be reached, its preflight was not run");
  expect(text).not.toMatch(/to (create|update|delete|replace)/);
  const resources = await d.stack.state();
  for (const more of [[], ["--continue-on-error"]])
    expect(failed(await d.stack.up(["--skip-preview", ...more]))).toContain("could not be reached, it was not checked");
  // Resources that were not registered do not count as removed.
  const names = (state: string): string[] =>
    [...state.matchAll(/::Command::[\w-]+|Command::[\w-]+/g)].map(String).sort();
  expect(names(await d.stack.state())).toEqual(names(resources));
  await boot(d.host);
  expect(await up()).toMatch(quiet);
});
