import {
  address,
  alertSubject,
  certificate,
  failedSubject,
  host,
  install,
  issues,
  killLsyncd,
  minutes,
  plain,
  realNow,
  recipients,
  recoveredSubject,
  server,
  target,
  text,
  useAlertHost,
} from "../support/alerts";
import { HeartbeatServer, MailServer } from "../support/mail";
import { mailedAsSampled } from "../support/samples";

useAlertHost("alerts-mail");

describe("failures of the service", () => {
  it("send the first alert at once, and later ones within the interval as one mail with their number", async () => {
    await install();
    await host.sh("pkill -KILL -x lsyncd");
    const first = await server.mail(1, 20);
    expect(first.message.subject).toBe(failedSubject);
    expect(first.to).toEqual(recipients);
    expect(issues(first)).toMatch(/lsyncd\.service failed at .*result exit-code/);
    await host.sh(killLsyncd(2));
    await host.synced();
    expect(await host.monitor()).toMatchObject({ code: 0 });
    expect(server.subjects).toEqual([failedSubject]);
    await host.monitor(realNow() + 3600);
    expect(server.subjects).toEqual([failedSubject, failedSubject]);
    const second = await server.mail(2);
    expect(issues(second)).toContain("failed 2 times between");
    await mailedAsSampled("again", second.raw);
  }, 240_000);

  it("do not include a stop or a restart", async () => {
    await install();
    await host.sh("systemctl restart lsyncd; sleep 2; systemctl stop lsyncd; sleep 2; systemctl start lsyncd");
    await host.synced();
    expect(await host.monitor()).toMatchObject({ code: 0 });
    expect(server.mails).toEqual([]);
  }, 60_000);
});

describe("alert frequency", () => {
  it(
    "a lasting problem sends one alert an hour all day, a new problem one at once, and a recovery one",
    async () => {
      await install();
      await host.sh("systemctl stop lsyncd; sleep 6");
      const start = realNow();
      const day = (from: number, to: number, step: number) =>
        host.sh(
          `for now in $(seq ${from} ${step} ${to}); do LSYNCD_MONITOR_NOW=$now /usr/local/bin/lsyncd-monitor.sh >/dev/null; done; true`,
          { timeoutMs: 300_000 },
        );
      await day(start, start + 12 * 3600 - 1, 600);
      expect(server.subjects).toEqual(Array(12).fill(alertSubject));
      const seen = server.mails.length;
      await host.sh(`fallocate -l $(($(df --output=avail -B1 ${target} | tail -n 1) - 20000000)) ${target}/ballast`);
      // A new problem ten minutes after the last mail.
      await host.monitor(start + 11 * 3600 + 4200);
      expect(server.subjects.length - seen).toBe(1);
      expect(issues(await server.mail(seen + 1))).toMatch(/service: [^]*disk: /);
      await day(start + 12 * 3600 + 1200, start + 24 * 3600 - 1, 600);
      expect(server.subjects.length).toBeLessThanOrEqual(25);
      await host.sh(`rm ${target}/ballast; systemctl start lsyncd`);
      await host.synced();
      const total = server.mails.length;
      await host.monitor(start + 24 * 3600);
      await host.monitor(start + 24 * 3600 + 300);
      expect(server.subjects.slice(total)).toEqual([recoveredSubject]);
    },
    minutes(6),
  );

  it("an intermittent problem does not send a mail at each run", async () => {
    await install();
    const start = realNow();
    for (let run = 0; run < 6; run++) {
      await host.sh(run % 2 === 0 ? "systemctl stop lsyncd" : "systemctl start lsyncd; sleep 2");
      await host.monitor(start + run * 300);
    }
    expect(server.subjects).toEqual([alertSubject, recoveredSubject, alertSubject]);
    await host.monitor(start + 3600 + 1800);
    expect(server.subjects.at(-1)).toBe(recoveredSubject);
  }, 120_000);

  it("a mail that could not be sent is kept, reported, and sent later", async () => {
    await install({ smtp: { host: address, port: 9, from: "lsyncd@example.org", tls: "off" } });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const run = await host.monitor();
    expect(run.output).toMatch(/note +mail +could not be sent, retried at the next run: msmtp: /);
    expect(await host.monitor()).toMatchObject({
      output: expect.stringContaining("could not be sent") as string,
    });
    await host.sh(`sed -i 's/^port .*/port ${server.port}/' /root/.msmtprc-lsyncd`);
    await host.monitor();
    expect(server.subjects).toEqual([alertSubject]);
  }, 90_000);

  it("a server that does not answer does not block: the run stays within 30 s", async () => {
    const silent = await MailServer.start({ address, silent: true });
    await install({ smtp: { ...plain(), port: silent.port } });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const run = await host.monitor();
    await silent.stop();
    expect(run.seconds).toBeLessThan(30);
    expect(run.output).toContain("could not be sent");
  }, 90_000);

  it("a refused recipient does not keep the mail from the others", async () => {
    const picky = await MailServer.start({ address, refused: ["ops@example.org"] });
    await install({ smtp: { ...plain(), port: picky.port } });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const run = await host.monitor();
    await picky.stop();
    expect(picky.mails.map(({ to }) => to)).toEqual([["dba@example.org"]]);
    expect(run.output).toContain("rejected for ops@example.org");
  }, 60_000);

  it("a pause suppresses alerts, is reported, and ends by itself", async () => {
    await install();
    await host.sh("/usr/local/bin/lsyncd-monitor.sh --pause 2h; systemctl stop lsyncd; sleep 6");
    const run = await host.monitor();
    expect(run.code).toBe(1);
    expect(run.output).toMatch(/^PAUSED +alerts +no alerts until /m);
    expect(server.mails).toEqual([]);
    await host.monitor(realNow() + 7300);
    expect(server.subjects).toEqual([alertSubject]);
    expect(await host.monitor(undefined, "--pause 8d")).toMatchObject({ code: 2 });
    expect(await host.monitor(undefined, "--resume")).toMatchObject({ code: 0 });
  }, 60_000);

  it("a mirror held for a failover sends no alert, unless lsyncd runs", async () => {
    await install();
    await host.sh("echo 'since noon, by jane' >/var/lib/lsyncd-as-code/failover");
    const running = await host.monitor();
    await host.sh("systemctl stop lsyncd; sleep 6");
    // Reports the error with which the guard has ended that lsyncd.
    await host.monitor();
    const held = await host.monitor();
    await host.sh("rm /var/lib/lsyncd-as-code/failover");
    expect(running.lines.service).toMatch(/^PROBLEM lsyncd runs although/);
    expect(held.code).toBe(0);
    expect(held.lines.service).toBe("held held for failover: since noon, by jane");
  }, 60_000);

  it("hostile names and log lines do no harm", async () => {
    await install();
    await host.monitor();
    await host.sh(`stamp=$(date '+%a %b %e %H:%M:%S %Y')
      { printf '%s Error: \\377\\376\\000 \\r \\033[31m \\303\\251\\n' "$stamp"
        printf 'From here on\\n.\\n..\\n'
        head -c 1000000 /dev/zero | tr '\\0' x; echo; } >>/var/log/lsyncd/lsyncd.log`);
    expect(await host.monitor()).toMatchObject({ code: 1 });
    const mail = await server.mail(1);
    expect(mail.message.subject).toBe(alertSubject);
    expect(
      Math.max(
        ...mail.raw
          .toString("latin1")
          .split("\r\n")
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(78);
    expect(mail.raw.toString("latin1")).not.toMatch(/[^\r\n\t\x20-\x7e]/);
    expect(text(mail)).toContain("\nFrom here on\n.\n..\n");
    expect(text(mail)).toContain("\\xFF\\xFE");
    expect(mail.raw.length).toBeLessThan(100_000);
  }, 60_000);
});

describe("mail transport", () => {
  it.each([
    ["STARTTLS", "starttls", false],
    ["TLS from the start", "tls", true],
  ])(
    "uses %s, with a login",
    async (_name, tls, implicitTls) => {
      const login = { user: "l\\syncd", password: `p"a's s\\$#%` };
      const secure = await MailServer.start({ address, certificate, implicitTls, login });
      await install({ smtp: { ...login, host: address, port: secure.port, from: "lsyncd@example.org", tls } });
      const distrusted = await host.monitor(undefined, "--test-alert");
      expect(distrusted.code).toBe(1);
      expect(secure.mails).toEqual([]);
      await host.sh(
        `cat >/usr/local/share/ca-certificates/test.crt <<'END'\n${certificate.authority}\nEND\nupdate-ca-certificates >/dev/null 2>&1`,
      );
      const test = await host.monitor(undefined, "--test-alert");
      await host.sh("rm /usr/local/share/ca-certificates/test.crt; update-ca-certificates --fresh >/dev/null 2>&1");
      await secure.stop();
      expect(test).toMatchObject({ code: 0 });
      expect(secure.mails.map(({ user, secure: encrypted, to }) => ({ user, encrypted, to }))).toEqual([
        { user: login.user, encrypted: true, to: recipients },
      ]);
      expect(secure.subjects).toEqual(["[TEST] Lsyncd alerts on sqlite-1"]);
      expect(await host.sh("stat -c %a /root/.msmtprc-lsyncd /etc/lsyncd/alerts.conf")).toBe("600\n600");
    },
    90_000,
  );

  it("uses the host's sendmail if no mail server is set", async () => {
    await host.install({ alertRecipients: recipients });
    await host.sh(`rm -f /root/.msmtprc-lsyncd; ln -sf /usr/bin/msmtp /usr/sbin/sendmail
      printf 'account default\\nhost ${address}\\nport ${server.port}\\nfrom root@sqlite-1\\n' >/etc/msmtprc`);
    const test = await host.monitor(undefined, "--test-alert");
    await host.sh("rm -f /etc/msmtprc /usr/sbin/sendmail");
    const without = await host.monitor(undefined, "--test-alert");
    expect(test).toMatchObject({ code: 0 });
    expect(server.mails.map(({ to }) => to)).toEqual([recipients]);
    expect(without).toMatchObject({ code: 1, output: expect.stringContaining("this host has no sendmail") as string });
  }, 60_000);

  it("calls the heartbeat after each run, and is not delayed by it", async () => {
    const heart = await HeartbeatServer.start(address);
    await install({ heartbeatUrl: `${heart.url}/ping/uuid` });
    await host.monitor();
    await host.sh("systemctl stop lsyncd; sleep 6");
    await host.monitor();
    await heart.stop();
    expect(heart.calls).toEqual(["/ping/uuid", "/ping/uuid/fail"]);
    const unreached = await host.monitor();
    expect(unreached.output).toMatch(/note +heartbeat not reached/);
  }, 60_000);
});
