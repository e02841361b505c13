import { eventually, on, prepare, succeeded, type Deployment } from "../support/deployment";

jest.setTimeout(400_000);

let d: Deployment;
const up = async (args: string[] = []): Promise<string> =>
  succeeded(await d.stack.up(["--skip-preview", "--refresh", ...args]));
const on1 = (command: string): Promise<string> => on(d.host, command);
const limitFile = "/proc/sys/fs/inotify/max_user_watches";
const connectionsSoFar = async (): Promise<number> =>
  Number(await on1("journalctl -u ssh --no-pager -o cat | grep -c 'Accepted publickey'"));

beforeAll(async () => {
  d = await prepare("drift", { volumeSizeMb: 64 });
  // The kernel's limit is the whole machine's and cannot be written in a container: a file in its place can.
  await on1(`echo mail >${d.host.source}/mail; echo 600000 >/run/watches; mount --bind /run/watches ${limitFile}`);
  succeeded(await d.stack.up());
});
afterAll(async () => {
  await d.remove();
});

/** What someone changes by hand, what a preview says of it, and how to see that it is as it was. */
const changes: [change: string, told: string, look: string, repaired: string][] = [
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

it("is none after a deployment, and looking for it takes one connection", async () => {
  const before = await connectionsSoFar();
  const text = await up();
  expect(text).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  // The one of the refresh, and the one that counts.
  expect((await connectionsSoFar()) - before).toBe(2);
  expect(await d.stack.state()).not.toContain("PRIVATE KEY");
});

it("is shown by a preview, all of it", async () => {
  for (const [change] of changes) await on1(change);
  const text = succeeded(await d.stack.preview(["--refresh"]));
  for (const [, told] of changes) expect(text).toContain(told);
  expect(text).toMatch(/~ 4 to update/);
  // A preview repairs nothing.
  expect(await on1("systemctl is-active lsyncd-monitor.timer || true")).toBe("inactive");
});

it("is repaired, and the next run is quiet", async () => {
  const text = await up();
  for (const [, , look, repaired] of changes) expect(await on1(look)).toBe(repaired);
  expect(text).toMatch(/4 updated/);
  expect(text).not.toMatch(/file-\S+ updated/);
  expect(await up()).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
});

it("restarts lsyncd for nothing that does not concern it", async () => {
  const pid = await on1("systemctl show -p MainPID --value lsyncd");
  await on1("chmod 0700 /usr/local/bin/lsyncd-monitor.sh");
  expect(await up()).toMatch(/4 updated/);
  expect(await on1("stat -c %a /usr/local/bin/lsyncd-monitor.sh")).toBe("755");
  expect(await on1("systemctl show -p MainPID --value lsyncd")).toBe(pid);
});

it("is a package that someone removed, which takes the service with it", async () => {
  await on1("DEBIAN_FRONTEND=noninteractive apt-get -q -y purge lsyncd >/dev/null 2>&1");
  expect(succeeded(await d.stack.preview(["--refresh"]))).toContain("package lsyncd is not installed");
  await up();
  await on1(`echo again >${d.host.source}/again`);
  await eventually(async () => (await on1(`cat ${d.host.target}/again`)) === "again");
});

it("is no service that an operator stopped, or that a mark holds", async () => {
  await on1("systemctl stop lsyncd");
  expect(await up()).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  // Neither is it started when something else is repaired.
  await on1("chmod 0700 /usr/local/bin/lsyncd-monitor.sh");
  expect(await up()).toContain("was stopped by an operator and stays stopped; start it with: systemctl start lsyncd");
  expect(await on1("stat -c %a /usr/local/bin/lsyncd-monitor.sh; systemctl is-active lsyncd || true")).toBe(
    "755\ninactive",
  );
  await on1("systemctl start lsyncd && lsyncd-failover begin a test");
  expect(await up()).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  await on1("lsyncd-failover end --keep source");
});
