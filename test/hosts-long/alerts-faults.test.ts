import {
  address,
  alertSubject,
  host,
  install,
  issues,
  monitorBegan,
  plain,
  realNow,
  recipients,
  recoveredSubject,
  server,
  source,
  target,
  until,
  useAlertHost,
} from "../support/alerts";
import { HeartbeatServer, MailServer } from "../support/mail";
import { reboot } from "../../tools/sandbox";

// Faults around the monitor itself: the host, the mail server, the clock, hostile file names.

useAlertHost("alerts-faults");

const state = "/var/lib/lsyncd-as-code";
const stamp = "$(date '+%a %b %e %H:%M:%S %Y')";
const log = "/var/log/lsyncd/lsyncd.log";

/** The state of the last run of the monitor's service. */
const serviceResult = () => host.sh("systemctl show -p Result,ExecMainStatus --value lsyncd-monitor.service");

describe("the host", () => {
  it("without watches: lsyncd cannot run, and an alert gives the reason", async () => {
    await install();
    await host.monitor();
    // The limit of a user namespace is a real one, and does not affect the whole machine.
    await host.sh(`mkdir -p ${source}/many /run/limits /usr/lib/real; (cd ${source}/many && mkdir -p $(seq 20))
      mount --bind /proc/sys/user /run/limits; mount -o remount,bind,rw /run/limits
      systemctl stop lsyncd; mv /usr/bin/lsyncd /usr/lib/real/lsyncd
      cat >/usr/bin/lsyncd <<'END'
#!/bin/sh
exec unshare --user --map-root-user sh -c 'echo 10 >/run/limits/max_inotify_watches && exec /usr/lib/real/lsyncd "$@"' sh "$@"
END
      chmod 755 /usr/bin/lsyncd
      mkdir -p /run/systemd/system/lsyncd.service.d
      printf '[Service]\\nRestrictNamespaces=no\\n' >/run/systemd/system/lsyncd.service.d/zz.conf
      systemctl daemon-reload; systemctl start lsyncd; ${until(`grep "Error: .*inotify watches" ${log}`)}`);
    const { code, lines } = await host.monitor();
    const journal = await host.sh("journalctl -u lsyncd -n 30 -o cat");
    await host.sh(`systemctl stop lsyncd; mv /usr/lib/real/lsyncd /usr/bin/lsyncd; umount /run/limits
      rm -r /run/systemd/system/lsyncd.service.d ${source}/many; systemctl daemon-reload; systemctl start lsyncd`);
    await host.synced();
    expect(journal).toContain("out of inotify watches");
    expect(code).toBe(1);
    expect(lines.log).toMatch(/^PROBLEM .*Error: .*inotify watches/);
    expect(server.subjects).toContain(alertSubject);
    expect(issues(await server.mail(server.mails.length))).toContain("inotify watches");
  }, 180_000);

  it("with a full /var: one alert is sent all the same, and one on recovery", async () => {
    await install();
    await host.monitor();
    await host.sh(`set -e
      systemctl stop lsyncd; sleep 6
      for place in /var/lib/lsyncd-as-code /var/log; do
        rm -rf /srv/copy; cp -a $place /srv/copy
        mount -t tmpfs -o size=64M,mode=755 none $place
        cp -a /srv/copy/. $place/
        # Never more than the small file system holds.
        [ "$(stat -f -c %T $place)" = tmpfs ]
        head -c 128M /dev/zero >$place/ballast 2>/dev/null || true
      done`);
    const runs = [await host.monitor(), await host.monitor()];
    const sent = server.subjects;
    await host.sh("rm -f /var/lib/lsyncd-as-code/ballast /var/log/ballast; systemctl start lsyncd");
    const last = await host.synced().then(() => host.monitor());
    await host.sh(`systemctl stop lsyncd
      for place in /var/lib/lsyncd-as-code /var/log; do umount -l $place; done; systemctl start lsyncd`);
    await host.synced();
    for (const { code, lines } of runs) {
      expect(code).toBe(1);
      expect(lines.monitor).toMatch(/^PROBLEM \/var\/lib\/lsyncd-as-code\/alerts cannot be written/);
    }
    expect(sent).toEqual([alertSubject]);
    expect(last.code).toBe(0);
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 120_000);

  it("with a systemd that does not answer: a finding within 30 s", async () => {
    await install();
    await host.sh("printf '#!/bin/sh\\nsleep 100\\n' >/usr/local/sbin/systemctl; chmod 755 /usr/local/sbin/systemctl");
    const run = await host.monitor();
    await host.sh("rm /usr/local/sbin/systemctl");
    expect(run.seconds).toBeLessThan(30);
    expect(run.lines.service).toMatch(/^PROBLEM systemd does not report whether lsyncd.service is running/);
    expect(server.subjects).toEqual([alertSubject]);
  }, 60_000);

  it("with a hanging disk: the monitor's service ends, and runs again at its next time", async () => {
    await install();
    await host.sh(`fsfreeze --freeze ${source}`);
    const seconds = [];
    const results = [];
    for (let run = 0; run < 2; run++) {
      const started = Date.now();
      await host.sh("systemctl start lsyncd-monitor.service", { allowFailure: true });
      seconds.push((Date.now() - started) / 1000);
      results.push(await serviceResult());
    }
    await host.sh(`fsfreeze --unfreeze ${source}; sleep 3; systemctl start lsyncd-monitor.service`);
    expect(Math.max(...seconds)).toBeLessThan(35);
    expect(results).toEqual(["success\n1", "success\n1"]);
    expect(await serviceResult()).toBe("success\n0");
    expect(server.subjects.filter((subject) => subject === alertSubject)).toHaveLength(1);
    expect(issues(await server.mail(1))).toContain("moving: no answer");
  }, 150_000);
});

describe("everything at once", () => {
  it("hangs: the run still ends within 30 s, and the mail arrives once the server answers", async () => {
    const silent = await MailServer.start({ address, silent: true });
    const heart = await HeartbeatServer.start(address, { silent: true });
    await install({ smtp: { ...plain(), port: silent.port }, heartbeatUrl: heart.url });
    await host.sh(`systemctl stop lsyncd; umount ${target}; mkdir -p /srv/slow; bindfs /srv/slow ${target}; sleep 2; pkill -STOP -x bindfs
      for name in systemctl hostname journalctl; do printf '#!/bin/sh\\nexec sleep 100\\n' >/usr/local/sbin/$name; chmod 755 /usr/local/sbin/$name; done
      mkdir -p ${state}/transaction; echo proving >${state}/transaction/phase`);
    const runs = [await host.monitor(), await host.monitor()];
    await silent.stop();
    await heart.stop();
    await host.sh(`rm -r ${state}/transaction; rm /usr/local/sbin/systemctl /usr/local/sbin/hostname /usr/local/sbin/journalctl
      pkill -CONT -x bindfs; for try in $(seq 50); do umount ${target} && break; sleep 0.2; done; rm -r /srv/slow
      mount ${host.host.volumes.target.device} ${target}; systemctl start lsyncd
      sed -i 's/^port .*/port ${server.port}/' /root/.msmtprc-lsyncd`);
    await host.synced();
    const last = await host.monitor();
    expect(runs.map(({ code }) => code)).toEqual([1, 1]);
    for (const { seconds } of runs) expect(seconds).toBeLessThan(30);
    expect(last.code).toBe(0);
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
    expect(issues(await server.mail(1))).toMatch(/volumes: no answer within \d+ s/);
  }, 150_000);
});

describe("a check that cannot run", () => {
  it("is reported, neither as healthy nor as a problem of the mirror", async () => {
    await install();
    await host.monitor();
    await host.sh("chmod -x /usr/local/lib/lsyncd-as-code/lsyncd-guard");
    const run = await host.monitor();
    await host.sh("chmod +x /usr/local/lib/lsyncd-as-code/lsyncd-guard");
    expect(run.code).toBe(2);
    expect(run.lines.volumes).toMatch(/^UNKNOWN .*lsyncd-guard is missing/);
    expect(issues(await server.mail(1))).toContain("could not be checked: volumes: ");
    await host.monitor();
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 60_000);

  it("is not reported as a backlog for an empty status file, unless it stays empty", async () => {
    await install();
    // lsyncd's writes to it are lost.
    await host.sh("mount --bind /dev/null /var/log/lsyncd/lsyncd.status");
    const runs = [await host.monitor(), await host.monitor(), await host.monitor()];
    await host.sh("umount /var/log/lsyncd/lsyncd.status");
    expect(runs.map(({ code }) => code)).toEqual([0, 0, 1]);
    expect(runs[0]?.lines.backlog).toBe("ok lsyncd has not written its status yet");
    expect(runs[2]?.lines.backlog).toMatch(/^PROBLEM .* has not reported the backlog for 3 runs/);
    await host.synced();
  }, 120_000);
});

it("a half-written status file causes no finding", async () => {
  await install();
  await host.synced();
  // A number that is cut short, as large as a backlog would be. Nothing changes in the source, so it stays so for this check.
  await host.sh(`printf 'Lsyncd status report at\\n\\nSync1 source=/\\nThere are 4711' >/var/log/lsyncd/lsyncd.status`);
  const { code, lines } = await host.monitor();
  expect(lines.backlog).toMatch(/^ok /);
  expect(lines.backlog).not.toContain("4711");
  expect({ code, subjects: server.subjects }).toEqual({ code: 0, subjects: [] });
}, 60_000);

describe("a mirror that is held", () => {
  it("has no backlog, whatever lsyncd wrote before it was stopped", async () => {
    await install();
    await host.monitor();
    await host.sh(`lsyncd-failover begin
      mkdir -p ${state}/sqlite
      printf 'updated\\t1.0\\tpending\\t1\\toldest\\t9\\n%s.5\\tlocked\\ta.sqlite\\tbusy\\n' $(($(date +%s) - 900)) >${state}/sqlite/status.tsv
      printf 'There are 4711 delays\\nInotify watching 192000 directories\\n' >/var/log/lsyncd/lsyncd.status`);
    const { code, lines } = await host.monitor();
    await host.sh(`rm ${state}/sqlite/status.tsv; lsyncd-failover end --keep source`);
    expect(lines).toMatchObject({
      backlog: "held held for failover",
      databases: "held held for failover",
      watches: "held held for failover",
    });
    expect({ code, subjects: server.subjects }).toEqual({ code: 0, subjects: [] });
    await host.synced();
  }, 90_000);

  it("includes a mirror that is being deployed, for a limited time", async () => {
    await install();
    await host.sh(`systemctl stop lsyncd; sleep 6; mkdir -p ${state}/transaction; echo swapping >${state}/transaction/phase
      (flock 9; sleep 300) 9>/run/lsyncd-as-code/locks/deployment >/dev/null 2>&1 & echo $! >/tmp/holder; sleep 0.5`);
    const held = await host.monitor();
    // As if the lock had been held for eleven minutes.
    await host.sh("read -r up _ </proc/uptime; echo $((10#${up/./} - 66000)) >/run/lsyncd-as-code/alerts/deploying");
    const after = await host.monitor();
    await host.sh(
      `kill $(cat /tmp/holder); pkill -P $(cat /tmp/holder); rm -r ${state}/transaction; systemctl start lsyncd`,
      {
        allowFailure: true,
      },
    );
    expect(held).toMatchObject({
      code: 0,
      lines: { alerts: "held a deployment changes this host, the next run checks it" },
    });
    expect(after.lines.volumes).toMatch(/^PROBLEM a deployment was interrupted half-way/);
    expect(server.subjects).toEqual([alertSubject]);
    await host.synced();
  }, 90_000);
});

describe("a first pass without progress", () => {
  it("is reported in the run after the next", async () => {
    await install();
    await host.sh(`touch /tmp/hold
      (while [ -e /tmp/hold ]; do pkill -STOP -x rsync; sleep 0.01; done) >/dev/null 2>&1 &
      systemctl stop lsyncd; rm -f /var/log/lsyncd/lsyncd.status; systemctl start lsyncd
      ${until("grep -E '^active *Init' /var/log/lsyncd/lsyncd.status")}`);
    const first = await host.monitor();
    // As if five minutes had passed.
    await host.sh(`cd ${state}/alerts; read -r work at <first-pass; echo "$work $((at - 301))" >first-pass`);
    const second = await host.monitor();
    await host.sh("rm /tmp/hold; sleep 0.2; pkill -CONT -x rsync");
    expect(first.lines.moving).toBe("ok the first full pass is running");
    expect(second.lines.moving).toMatch(/^PROBLEM the first full pass is running, but has not moved for \d+ minutes$/);
    await host.synced();
  }, 90_000);
});

describe("an interruption of the monitor", () => {
  it("is reported at once, and not again by the next run", async () => {
    await install();
    await host.monitor();
    await host.sh(
      `systemctl start --no-block lsyncd-monitor.service; ${monitorBegan}; systemctl kill -s KILL lsyncd-monitor.service`,
    );
    const mail = await server.mail(1, 30);
    expect(mail.message.subject).toBe(alertSubject);
    expect(issues(mail)).toContain(
      "monitor: the health check was interrupted (result signal, main process killed KILL)",
    );
    expect((await host.monitor()).lines.monitor).toMatch(/^PROBLEM the previous run was interrupted/);
    expect((await host.monitor()).code).toBe(0);
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 60_000);

  it("is reported when no run has started for too long", async () => {
    await install();
    // A run counts only if it was in this boot.
    await host.sh(
      `booted=$(($(systemctl show -p UserspaceTimestampMonotonic --value) / 1000000)); while read -r up _ </proc/uptime; [ "\${up%.*}" -lt $((booted + 730)) ]; do sleep 5; done`,
      { timeoutMs: 800_000 },
    );
    await host.monitor();
    // As if the last had been twelve minutes ago.
    await host.sh(`cd /run/lsyncd-as-code/alerts; read -r at verdict <verdict; echo "$((at - 720)) $verdict" >verdict`);
    expect((await host.monitor()).lines.monitor).toMatch(/^PROBLEM no check ran for 12 minutes/);
    expect(issues(await server.mail(1))).toContain("monitor: no check ran for 12 minutes");
    expect((await host.monitor()).code).toBe(0);
  }, 900_000);

  it("is reported when a run takes too long, even if it exits cleanly when asked to", async () => {
    await install();
    await host.monitor();
    await host.sh(
      `mkdir -p /run/systemd/system/lsyncd-monitor.service.d
      printf '[Service]\\nTimeoutStartSec=2\\n' >/run/systemd/system/lsyncd-monitor.service.d/test.conf; systemctl daemon-reload
      systemctl start lsyncd-monitor.service; rm -r /run/systemd/system/lsyncd-monitor.service.d; systemctl daemon-reload`,
      {
        allowFailure: true,
      },
    );
    const mail = await server.mail(1, 30);
    expect(issues(mail)).toContain("monitor: the health check was interrupted (result timeout");
    await host.sh("systemctl reset-failed lsyncd-monitor.service");
    expect((await host.monitor()).code).toBe(0);
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 60_000);

  it("is reported when its script is missing", async () => {
    await install();
    await host.sh("mv /usr/local/bin/lsyncd-monitor.sh /root/kept; systemctl start lsyncd-monitor.service", {
      allowFailure: true,
    });
    const mail = await server.mail(1, 30);
    await host.sh("mv /root/kept /usr/local/bin/lsyncd-monitor.sh; systemctl reset-failed lsyncd-monitor.service");
    expect(issues(mail)).toContain("result exit-code, main process exited 203");
    expect((await host.monitor()).code).toBe(0);
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 60_000);

  it("is reported when its timer is masked: lsyncd's own supervisor starts a run", async () => {
    await install();
    await host.monitor();
    await host.sh(`systemctl stop lsyncd-monitor.timer; systemctl mask --runtime lsyncd-monitor.timer
      sed -i 's/^my $missed = 390;/my $missed = 20;/' /usr/local/lib/lsyncd-as-code/lsyncd-supervisor
      systemctl restart lsyncd`);
    const mail = await server.mail(1, 90);
    await host.sh("systemctl unmask --runtime lsyncd-monitor.timer; systemctl start lsyncd-monitor.timer");
    expect(issues(mail)).toMatch(/monitor: no check runs on its own: lsyncd-monitor\.timer is inactive/);
  }, 120_000);

  it("by an operator is not a problem", async () => {
    await install();
    await host.monitor();
    // Nothing of it may continue: that would take the next run's probe for its own.
    const left = `pgrep -af 'lsyncd-monitor[.]sh --check'; ls -A ${source} | grep probe`;
    const byHand = `/usr/local/bin/lsyncd-monitor.sh & ${monitorBegan}; kill -HUP $!; wait $!; ${left}`;
    expect(await host.sh(byHand, { allowFailure: true })).toBe("");
    const service = `systemctl start --no-block lsyncd-monitor.service; ${monitorBegan}; systemctl stop lsyncd-monitor.service; ${left}`;
    expect(await host.sh(service, { allowFailure: true })).toBe("");
    const { code, output } = await host.monitor();
    expect({ code, output: code === 0 ? "" : output }).toEqual({ code: 0, output: "" });
    expect(server.subjects).toEqual([]);
  }, 60_000);

  it("by a kill leaves its check running, and the next run makes no second probe", async () => {
    // Long enough for the check to be still waiting.
    await install({ delay: 5 });
    await host.monitor();
    await host.sh("/usr/local/bin/lsyncd-monitor.sh & sleep 2; kill -KILL $!; wait $!", { allowFailure: true });
    const { lines } = await host.monitor();
    expect(lines.moving).toBe("skipped the check of a run that was killed is still under way");
    expect(lines.monitor).toContain("the previous run was interrupted");
    await host.sh("while pgrep -f 'lsyncd-monitor[.]sh --check'; do sleep 0.2; done");
    expect(await host.sh(`ls -A ${source} | grep probe`, { allowFailure: true })).toBe("");
    expect(await host.monitor()).toMatchObject({ code: 0 });
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 90_000);
});

describe("a reboot", () => {
  it("loses neither sent alerts nor waiting ones", async () => {
    await install({ smtp: { ...plain(), port: 9 } });
    await host.sh("systemctl disable lsyncd; systemctl stop lsyncd; sleep 6");
    const before = await host.monitor();
    await reboot(host.host);
    await host.sh(`sed -i 's/^port .*/port ${server.port}/' /root/.msmtprc-lsyncd`);
    const after = [await host.monitor(), await host.monitor()];
    expect(before.output).toContain("could not be sent");
    expect(after.map(({ code }) => code)).toEqual([1, 1]);
    expect(server.mails.map(issues)).toEqual([expect.stringMatching(/^- service: .*\n?$/)]);
    expect(server.subjects).toEqual([alertSubject]);
    await host.sh("systemctl enable lsyncd; systemctl start lsyncd");
    await host.synced();
    expect((await host.monitor()).code).toBe(0);
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 120_000);
});

describe("the clock", () => {
  it("when set back, ends a pause, and lasting problems are reported again", async () => {
    await install();
    const year = 365 * 86_400;
    await host.monitor(realNow() + year, "--pause 7d");
    await host.sh("systemctl stop lsyncd; sleep 6");
    await host.monitor(realNow() + year + 60);
    expect(server.subjects).toEqual([]);
    await host.monitor();
    expect(server.subjects).toEqual([alertSubject]);
    // Alerts recorded with a future time are sent again.
    await host.monitor(realNow() - year);
    expect(server.subjects).toEqual([alertSubject, alertSubject]);
    await host.monitor(realNow() - year + 300);
    expect(server.subjects).toEqual([alertSubject, alertSubject]);
  }, 90_000);
});

describe("the log", () => {
  it("can be rotated at any moment: each error is reported exactly once", async () => {
    await install();
    await host.monitor();
    const counts = await host.sh(
      // Once for each run, at its beginning: before or after it reads, so that there are two between some of them.
      `sed -i 's/^\\tdaily/\\thourly/' /etc/logrotate.d/lsyncd-as-code
      (for round in $(seq 40); do
          echo "${stamp} Error: number $round" >>${log}; sleep 0.$((RANDOM % 9))
          if [ -e /tmp/rotate ]; then rm /tmp/rotate; logrotate -f /etc/logrotate.d/lsyncd-as-code; fi
        done; touch /tmp/written) >/dev/null 2>&1 &
      export LSYNCD_MONITOR_NOW=$(date +%s)
      until [ -e /tmp/written ]; do touch /tmp/rotate; /usr/local/bin/lsyncd-monitor.sh; done
      /usr/local/bin/lsyncd-monitor.sh; rm -f /tmp/written /tmp/rotate`,
      { timeoutMs: 110_000 },
    );
    const found = [...counts.matchAll(/^PROBLEM +log +(\d+) new/gm)].map(([, count]) => Number(count));
    expect(found.reduce((sum, count) => sum + count, 0)).toBe(40);
  }, 120_000);
});

describe("names and addresses with special characters", () => {
  it("are treated as names, as a mount point, as a host and as files", async () => {
    await install();
    const inside = `${target}/$(touch /tmp/pwned)\`touch /tmp/pwned\``;
    const evil = "a\nBcc: eve@example.org\n\n$(touch /tmp/pwned)";
    // sethostname(2): no command takes such a name. The text is in a variable because perl may write to it.
    const name = (text: string) =>
      host.sh(`perl -e 'my $name = pack "H*", "${Buffer.from(text).toString("hex")}";
        syscall(170, $name, length $name) == 0 or die $!'`);
    await host.sh(`mkdir -p '${inside}'; mount -t tmpfs none '${inside}'`);
    const start = realNow();
    await name(evil);
    const first = await host.monitor(start).finally(() => name("sqlite-1"));
    await host.sh(`umount '${inside}'; rmdir '${inside}'`);
    await host.synced();
    await host.monitor(start + 300);
    await host.sh("systemctl stop lsyncd; sleep 6");
    await host.monitor(start + 8000);
    await host.sh("systemctl start lsyncd");
    await host.synced();
    await host.monitor(start + 8300);
    expect(first.lines.volumes).toContain("something else is mounted inside the target");
    expect(await host.sh("ls /tmp/pwned 2>&1", { allowFailure: true })).toContain("No such file");
    // lsyncd itself exits at once because of the mount, which is a failure and is reported as one.
    const [mail, ...others] = server.mails.filter(({ message }) => !message.subject?.startsWith("[FAILED]"));
    expect(mail?.to).toEqual(recipients);
    expect(mail?.message.headers.has("bcc")).toBe(false);
    expect(mail?.message.subject).toMatch(
      /^\[ALERT\] Lsyncd Health Check Failed on a-Bcc--eve-example\.org[A-Za-z0-9._-]*$/,
    );
    // One more alert than expected: its problems are the reason.
    if (others[0]?.message.subject === alertSubject) throw new Error(issues(others[0]));
    expect(others.map(({ message }) => message.subject)).toEqual([recoveredSubject, alertSubject, recoveredSubject]);
  }, 120_000);

  it("cannot forge lines of the log or the journal, nor hide them", async () => {
    await install();
    await host.monitor();
    await host.sh(`cd ${source}
      touch $'a\\nMon Nov 23 10:00:00 2026 Error: forged' $'b\\n12:00:00 Error: x\\nrsync error: forged (code 23)'
      touch $'c\\nStopping all...' $'d\\nMon Nov 23 10:00:00 2026 Normal: --- OVERFLOW in event queue ---'; lsyncd-wait`);
    const forged = await host.monitor();
    await host.sh(`cd ${source}; echo 1 >held; lsyncd-wait; chattr +i ${target}/held
      echo 22 >held; touch $'e\\nStopping all...'; ${until(`grep 'after exitcode: [1-9]' ${log}`)}`);
    const real = await host.monitor();
    await host.sh(`chattr -i ${target}/held; rm -f ${source}/[abcdeh]*; systemctl restart lsyncd`);
    expect(forged).toMatchObject({ code: 0 });
    expect(real.lines.journal).toMatch(/^PROBLEM .*Operation not permitted/);
    await host.synced();
  }, 90_000);

  it("arrive unchanged in a mail, é included", async () => {
    await install();
    await host.monitor();
    await host.sh(`printf '%s Error: gr\\303\\266\\303\\237e \\302\\233 \\033 \\377\\n' "${stamp}" >>${log}`);
    await host.monitor();
    expect(issues(await server.mail(1))).toContain("Error: größe ? ? \\xFF");
  }, 60_000);
});

describe("the mail server", () => {
  it("that defers one recipient and rejects another: each gets the mail once, when possible", async () => {
    const later = await MailServer.start({ address, refused: ["dba@example.org"], later: ["late@example.org"] });
    await install({ smtp: { ...plain(), port: later.port }, alertRecipients: [...recipients, "late@example.org"] });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const runs = [await host.monitor(), await host.monitor()];
    const before = later.mails.map(({ to }) => to);
    later.accept();
    const last = await host.monitor();
    await later.stop();
    expect(runs.map(({ output }) => output.includes("could not be sent"))).toEqual([true, true]);
    expect(before).toEqual([["ops@example.org"]]);
    expect(later.mails.map(({ to }) => to)).toEqual([["ops@example.org"], ["dba@example.org"], ["late@example.org"]]);
    expect(last.output).not.toContain("could not be sent");
  }, 90_000);

  it.each(["421 at the greeting", "451 after the text", "550 after the text", "cut connection"] as const)(
    "that answers with %s: the mail is kept, reported, and sent when possible",
    async (failure) => {
      const bad = await MailServer.start({ address, failure });
      await install({ smtp: { ...plain(), port: bad.port } });
      await host.sh("systemctl stop lsyncd; sleep 6");
      const runs = [await host.monitor(), await host.monitor()];
      bad.accept();
      await host.monitor();
      await bad.stop();
      for (const { output } of runs) expect(output).toMatch(/note +mail +could not be sent, retried/);
      expect(bad.subjects).toEqual([alertSubject]);
    },
    90_000,
  );

  it("whose name cannot be resolved: the same", async () => {
    await install({ smtp: { ...plain(), host: "mail.invalid", port: 25 } });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const unknown = await host.monitor();
    await host.sh(`sed -i 's/^host .*/host ${address}/; s/^port .*/port ${server.port}/' /root/.msmtprc-lsyncd`);
    await host.monitor();
    expect(unknown.seconds).toBeLessThan(30);
    expect(unknown.output).toContain("could not be sent");
    expect(server.subjects).toEqual([alertSubject]);
  }, 90_000);

  it("that never accepts one mail does not block the hourly one", async () => {
    const bad = await MailServer.start({ address, failure: "550 after the text" });
    await install({ smtp: { ...plain(), port: bad.port } });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const start = realNow();
    await host.monitor(start);
    await host.monitor(start + 3700);
    bad.accept();
    await host.monitor(start + 3900);
    await bad.stop();
    expect(bad.subjects).toEqual([alertSubject, alertSubject]);
  }, 90_000);
});

describe("secrets", () => {
  it("appear in no process list, environment or journal", async () => {
    const silent = await MailServer.start({
      address,
      silent: true,
      login: { user: "u", password: "pass-7c1f" },
      plainLogin: true,
    });
    const heart = await HeartbeatServer.start(address, { silent: true });
    await install({
      smtp: { ...plain(), port: silent.port, user: "u", password: "pass-7c1f" },
      heartbeatUrl: `${heart.url}/ping/uuid-93ab`,
    });
    await host.sh("systemctl stop lsyncd; sleep 6");
    const seen = await host.sh(
      // In a file: the command that looks for them is a process as well.
      `printf '%s\\n' curl msmtp pass-7c1f uuid-93ab >/tmp/words
      systemctl start --no-block lsyncd-monitor.service
      for look in $(seq 150); do
        for process in /proc/[0-9]*; do tr '\\0' ' ' <$process/cmdline; tr '\\0' ' ' <$process/environ; echo; done 2>/dev/null
        sleep 0.1
      done | grep -a -f /tmp/words | sort | uniq -c | cut -c 1-300; rm /tmp/words`,
      { timeoutMs: 90_000 },
    );
    const journal = await host.sh("journalctl -o export --no-pager");
    await silent.stop();
    await heart.stop();
    expect(seen).toMatch(/curl -q/);
    expect(seen).toMatch(/msmtp --file/);
    expect(seen).not.toMatch(/pass-7c1f|uuid-93ab/);
    expect(journal).toMatch(/note +heartbeat not reached/);
    expect(journal).not.toMatch(/pass-7c1f|uuid-93ab/);
  }, 150_000);
});

describe("msmtp as Debian packages it", () => {
  it("gets the password from a command", async () => {
    const login = { user: "u", password: "from a file" };
    const asking = await MailServer.start({ address, login, plainLogin: true });
    await install({
      smtp: { ...plain(), port: asking.port, user: "u", passwordCommand: "cat /etc/lsyncd/smtp-password" },
    });
    await host.sh("(umask 077; printf 'from a file\\n' >/etc/lsyncd/smtp-password)");
    const test = await host.monitor(undefined, "--test-alert");
    await asking.stop();
    expect(test).toMatchObject({ code: 0 });
    expect(asking.mails.map(({ user }) => user)).toEqual(["u"]);
  }, 60_000);

  it("may read its configuration, run that command and read the mail under its AppArmor profile", async () => {
    await install();
    const profile = await host.sh("cat /etc/apparmor.d/usr.bin.msmtp");
    // The rules as regular expressions: * is part of a name, ** any path, @{HOME} as in Debian's tunables.
    const rules = profile.split("\n").flatMap((line) => {
      const [, path, access] = /^\s*(?:owner )?([/@][^ ]*) +([a-zA-Z]+),/.exec(line) ?? [];
      if (path === undefined || access === undefined) return [];
      const pattern = path
        .replace("@{HOME}", "{/home/*,/root}")
        .replaceAll(
          /\*\*|\*|[{},.]/g,
          (one) => ({ "**": ".*", "*": "[^/]*", "{": "(?:", "}": ")", ",": "|", ".": "\\." })[one] ?? one,
        );
      return [{ pattern: new RegExp(`^${pattern}$`), access }];
    });
    const may = (path: string) => rules.filter(({ pattern }) => pattern.test(path)).map(({ access }) => access);
    expect(may("/usr/bin/msmtp")).toEqual(["mr"]);
    expect(may("/etc/lsyncd/msmtprc")).toEqual([]);
    expect(may("/root/.msmtprc-lsyncd").join()).toContain("r");
    expect(may("/usr/bin/cat")).toEqual(["PUx"]);
    expect(await host.sh("stat -c '%U %a' /root/.msmtprc-lsyncd")).toBe("root 600");
    // It inherits pipes, which no profile checks.
    await host.install({ alertRecipients: recipients });
    await host.sh(`cat >/usr/sbin/sendmail <<'END'
#!/bin/sh
readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2 | sed 's/:.*//' | sort -u >/tmp/inherited
cat >/dev/null
END
      chmod 755 /usr/sbin/sendmail; lsyncd-monitor.sh --test-alert; rm /usr/sbin/sendmail`);
    expect(await host.sh("cat /tmp/inherited")).toBe("pipe");
  }, 60_000);
});
