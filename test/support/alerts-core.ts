import { execOn, type Release } from "../../tools/sandbox";
import { z } from "zod";
import { hostStatus, type HostStatus } from "../../cli/status/schema";
import {
  alertSubject,
  failedSubject,
  issues,
  minutes,
  monitorBegan,
  realNow,
  recipients,
  recoveredSubject,
  until,
} from "./alerts";
import { eventually, prepare, succeeded, type Deployment } from "./deployment";
import { HeartbeatServer, MailServer, makeCertificate } from "./mail";
import { AlertHost } from "./mail-host";
import { mailedAsSampled, printedAsSampled } from "./samples";
import { runTool } from "./tools";

const address = "127.84.25.2";
const login = { user: "lsyncd", password: "p\"a's s\\$#%" };

let deployment: Deployment;
let host: AlertHost;
let server: MailServer;
let heart: HeartbeatServer;
/** The number of mails that had arrived before the test. */
let before: number;
const subjects = () => server.subjects.slice(before);

/** The host's entry in `npm run status`. */
async function status(): Promise<HostStatus> {
  const { stdout } = await runTool(deployment.stack, "cli/status.ts", ["--json"]);
  const [one] = z.array(hostStatus).parse(JSON.parse(stdout));
  if (one === undefined) throw new Error("no host");
  return one;
}

/**
 * Tests the core of the alerts, on a host that is deployed with what an operator would set; alerts-*.test.ts have the
 * rest. The timer's first run is two minutes after boot, or hurried to right after the deployment.
 */
export function testAlerts({ release, hurried }: { release: Release; hurried: boolean }): void {
  beforeAll(async () => {
    deployment = await prepare("alerts", { release });
    host = new AlertHost(deployment.host);
    const certificate = await makeCertificate(address);
    server = await MailServer.start({ address, certificate, login });
    heart = await HeartbeatServer.start(address);
    // A network whose certificate authority the host trusts.
    await host.sh(
      `cat >/usr/local/share/ca-certificates/test.crt <<'END'\n${certificate.authority}\nEND\nupdate-ca-certificates >/dev/null 2>&1`,
    );
  }, minutes(4));

  afterAll(async () => {
    await heart.stop();
    await server.stop();
    await deployment.remove();
  }, minutes(1));

  beforeEach(() => {
    before = server.mails.length;
  });

  const settings = {
    alertRecipients: recipients,
    smtp: { ...login, host: address, from: "lsyncd@example.org" },
    testAlert: true,
  };

  it(
    "a first deployment installs the packages that mail needs, and sends a test alert over TLS with a login",
    async () => {
      const absent =
        "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' msmtp curl logrotate 2>/dev/null | grep -c ' installed$'";
      expect(await host.sh(absent, { allowFailure: true })).toBe("0");
      if (hurried)
        await host.sh(`mkdir -p /etc/systemd/system/lsyncd-monitor.timer.d
        printf '[Timer]\\nOnActiveSec=2s\\nOnUnitActiveSec=10s\\n' >/etc/systemd/system/lsyncd-monitor.timer.d/test.conf`);
      await deployment.configure({
        ...settings,
        smtp: { ...settings.smtp, port: server.port },
        heartbeatUrl: `${heart.url}/ping/{secret}`,
      });
      succeeded(await deployment.stack.up());
      expect(await host.sh(absent)).toBe("3");
      expect(await host.sh("systemctl is-enabled logrotate.timer")).toBe("enabled");
      // A new host has no problem when its timer starts.
      const said = (what: string) =>
        host.sh(`journalctl -u lsyncd-monitor -o cat | grep -cE '^(${what}) '`, { allowFailure: true });
      await eventually(async () => Number(await said("ok +moving")) > (hurried ? 1 : 0), 420);
      expect(await said("PROBLEM|UNKNOWN")).toBe("0");
      expect(subjects()).toEqual(["[TEST] Lsyncd alerts on sqlite-1"]);
      await mailedAsSampled("test", (await server.mail(1)).raw);
      const { user, secure, to, from } = await server.mail(1);
      expect({ user, secure, to, from }).toEqual({
        user: login.user,
        secure: true,
        to: recipients,
        from: "lsyncd@example.org",
      });
    },
    minutes(12),
  );

  if (!hurried)
    it(
      "the deployed timer detects a problem within five minutes",
      async () => {
        await host.sh("pkill -STOP -x lsyncd");
        const mail = await server.mail(before + 1, 320);
        // Otherwise the recovery of the same problem, which occurs again below, would be held back for an interval.
        await host.sh("pkill -CONT -x lsyncd");
        await host.forget();
        expect(mail.message.subject).toBe(alertSubject);
        expect(issues(mail)).toContain("service: lsyncd (process ");
      },
      minutes(6),
    );

  it("a healthy run sends no alert and calls the heartbeat", async () => {
    await host.prepare();
    await host.synced();
    before = server.mails.length;
    await host.sh("systemctl start lsyncd-monitor.service");
    expect(await host.sh("systemctl show -p Result,ExecMainStatus --value lsyncd-monitor.service")).toBe("success\n0");
    expect(subjects()).toEqual([]);
    expect(heart.calls.at(-1)).toBe("/ping/{secret}");
    printedAsSampled("healthy", (await host.monitor()).output);
  }, 120_000);

  it("a killed lsyncd triggers an alert at once", async () => {
    await host.sh("pkill -KILL -x lsyncd");
    const mail = await server.mail(before + 1, 20);
    expect(mail.message.subject).toBe(failedSubject);
    expect(mail.to).toEqual(recipients);
    expect(issues(mail)).toMatch(/lsyncd\.service failed at .*result exit-code/);
    await mailedAsSampled("failed", mail.raw);
    // While systemd restarts lsyncd, a run in these seconds sends nothing more.
    expect((await host.monitor()).lines.service).toMatch(/^skipped it is being started \(auto-restart/);
    expect(subjects()).toEqual([failedSubject]);
    await host.synced();
  }, 60_000);

  it("a stopped lsyncd triggers one alert, and one more on recovery", async () => {
    await host.sh("systemctl stop lsyncd");
    const run = await host.monitor();
    expect(run).toMatchObject({ code: 1 });
    printedAsSampled("sick", run.output);
    await host.sh("systemctl start lsyncd-monitor.service");
    expect(subjects()).toEqual([alertSubject]);
    const mail = await server.mail(before + 1);
    expect(mail.to).toEqual(recipients);
    expect(issues(mail)).toContain("service: lsyncd.service is not running (inactive");
    await mailedAsSampled("alert", mail.raw);
    expect(await status()).toMatchObject({
      healthy: false,
      monitor: { verdict: "PROBLEM" },
      problems: expect.arrayContaining([expect.stringContaining("service: lsyncd.service is not running")]) as string[],
    });
    expect(heart.calls.at(-1)).toBe("/ping/{secret}/fail");
    await host.sh("systemctl start lsyncd");
    await host.synced();
    expect(await host.monitor()).toMatchObject({ code: 0 });
    expect(subjects()).toEqual([alertSubject, recoveredSubject]);
    await mailedAsSampled("recovered", (await server.mail(before + 2)).raw);
    // Started by hand; the run before it had another result.
    expect(await status()).toMatchObject({ healthy: true, problems: [], monitor: { verdict: "ok" } });
  }, 150_000);

  it("npm run status shows a killed monitor run and a pause", async () => {
    await host.sh(`systemctl start --no-block lsyncd-monitor.service; ${monitorBegan}
      systemctl kill -s KILL lsyncd-monitor.service; ${until("systemctl is-failed lsyncd-monitor.service")}`);
    expect(await status()).toMatchObject({ healthy: false, monitor: { verdict: "failed" } });
    // The first run reports that the one before was interrupted.
    await host.monitor();
    await host.monitor();
    await host.monitor(undefined, "--pause 2h");
    expect(await status()).toMatchObject({
      healthy: true,
      monitor: { verdict: "ok", paused: expect.stringMatching(/^\d{4}-/) as string },
    });
    await host.monitor(undefined, "--resume");
    expect((await status()).monitor?.paused).toBeUndefined();
  }, 150_000);

  it("an unmounted volume triggers an alert", async () => {
    const { device, mountpoint } = host.host.volumes.source;
    await host.sh(`umount ${mountpoint}`);
    const { lines } = await host.monitor(realNow() + 7200);
    await host.sh(`mount ${device} ${mountpoint}`);
    expect(lines.volumes).toBe(`PROBLEM the source volume is not mounted at ${mountpoint}`);
    expect(subjects()).toContain(alertSubject);
    await host.synced();
  }, 60_000);

  it(
    "a deployment that restarts lsyncd triggers no alert, whenever the monitor runs",
    async () => {
      await host.forget();
      const runs: string[] = [];
      const progress = { done: false };
      const looking = (async () => {
        while (!progress.done) runs.push((await host.monitor()).output);
      })();
      await deployment.configure({ ...settings, smtp: { ...settings.smtp, port: server.port }, delay: 2 });
      succeeded(await deployment.stack.up());
      progress.done = true;
      await looking;
      expect(runs.filter((output) => /^(PROBLEM|UNKNOWN)/m.test(output))).toEqual([]);
      expect(subjects()).toEqual([]);
      expect((await execOn(host.host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).stdout).toContain("= 2");
    },
    minutes(2),
  );
}
