import {
  alertSubject,
  host,
  install,
  issues,
  killLsyncd,
  monitorBegan,
  realNow,
  recipients,
  recoveredSubject,
  server,
  source,
  target,
  text,
  until,
  useAlertHost,
} from "../support/alerts";

useAlertHost("alerts-checks");

/** Waits on the host until lsyncd has logged that rsync could not copy everything. */
const loggedError = until("grep -q 'after exitcode: [1-9]' /var/log/lsyncd/lsyncd.log");

describe("a healthy mirror", () => {
  it("passes every check, sends no alert, and leaves nothing on the volumes", async () => {
    await install();
    const runs = [await host.monitor(), await host.monitor()];
    for (const { code, lines, output } of runs) {
      expect(Object.keys(lines).join(" ")).toBe(
        "volumes monitor service restarts memory watches log journal backlog databases verify disk source moving exceptions",
      );
      expect(Object.values(lines).filter((line) => !line.startsWith("ok "))).toEqual([]);
      expect({ code, output }).toMatchObject({ code: 0 });
    }
    expect(await host.sh(`ls -A ${source} ${target} | grep -c probe`, { allowFailure: true })).toBe("0");
    expect(server.mails).toEqual([]);
  }, 120_000);

  it("is reported as healthy for any file names", async () => {
    await install();
    await host.monitor();
    await host.sh(
      `cd ${source} && touch failed-logins.sqlite 'Error: x' $'a\\nMon Nov 23 10:00:00 Error: x' 'exitcode: 23' 'rsync error: (code 23)'`,
    );
    await host.synced();
    const { code, output } = await host.monitor();
    expect({ code, output }).toMatchObject({ code: 0 });
    await host.sh(`cd ${source} && rm -f failed-logins.sqlite Error* a* exitcode* rsync*`);
  }, 120_000);
});

describe("the documented triggers", () => {
  it("a stopped service sends one alert with a complete message, and one on recovery", async () => {
    await install();
    await host.sh("systemctl stop lsyncd");
    expect(await host.monitor()).toMatchObject({ code: 1 });
    expect(await host.monitor()).toMatchObject({ code: 1 });
    expect(server.subjects).toEqual([alertSubject]);

    const mail = await server.mail(1);
    expect(mail).toMatchObject({ from: "lsyncd@example.org", to: recipients });
    const { message } = mail;
    expect(message.from?.value).toEqual([{ name: "Lsyncd on sqlite-1", address: "lsyncd@example.org" }]);
    expect(message.to && !Array.isArray(message.to) && message.to.value.map((one) => one.address)).toEqual(recipients);
    expect(Math.abs((message.date?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(message.messageId).toMatch(/^<[^<>@\s]+@sqlite-1>$/);
    expect(message.headers.get("content-type")).toMatchObject({ value: "text/plain", params: { charset: "UTF-8" } });
    expect(message.headers.get("auto-submitted")).toBe("auto-generated");
    for (const part of [
      "Time: ",
      "Host: sqlite-1",
      "Active: inactive",
      "Mounted on",
      "Normal: Startup of",
      "TO INVESTIGATE",
    ])
      expect(text(mail)).toContain(part);
    expect(issues(mail)).toContain("lsyncd.service is not running");
    expect(mail.raw.toString("latin1").replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);

    await host.sh("systemctl start lsyncd");
    await host.synced();
    expect(await host.monitor()).toMatchObject({ code: 0 });
    expect(await host.monitor()).toMatchObject({ code: 0 });
    expect(server.subjects).toEqual([alertSubject, recoveredSubject]);
  }, 150_000);

  it("a unit that is active without a live process is detected", async () => {
    await install();
    await host.sh(`systemctl stop lsyncd
      mv /etc/systemd/system/lsyncd.service.d /tmp/away; systemctl daemon-reload
      systemctl start lsyncd; ${until("pidof lsyncd")}; kill -KILL $(pidof lsyncd)
      ${until("systemctl show -p SubState --value lsyncd | grep -qx exited")}`);
    expect(await host.sh("systemctl is-active lsyncd")).toBe("active");
    const { code, lines } = await host.monitor();
    await host.sh(`systemctl stop lsyncd; mv /tmp/away /etc/systemd/system/lsyncd.service.d; systemctl daemon-reload`);
    expect(code).toBe(1);
    expect(lines.service).toMatch(/^PROBLEM .*active \(exited\).*no lsyncd process lives/);
    expect(server.subjects).toEqual([alertSubject]);
  }, 120_000);

  it.each(["source", "target"] as const)(
    "an unmounted %s sends an alert",
    async (volume) => {
      await install();
      const { device, mountpoint } = host.host.volumes[volume];
      await host.sh(`umount ${mountpoint}`);
      const { code, lines } = await host.monitor();
      await host.sh(`mount ${device} ${mountpoint}`);
      expect(code).toBe(1);
      expect(lines.volumes).toBe(`PROBLEM the ${volume} volume is not mounted at ${mountpoint}`);
      expect(lines.moving).toMatch(/^skipped/);
      expect(await host.sh(`umount ${mountpoint}; ls -A ${mountpoint}; mount ${device} ${mountpoint}`)).toBe("");
      expect(server.subjects).toContain(alertSubject);
      await host.synced();
    },
    150_000,
  );

  it("another volume mounted in its place sends an alert", async () => {
    await install();
    await host.sh(`systemctl stop lsyncd; umount ${source}; mount -t tmpfs none ${source}`);
    const { lines } = await host.monitor();
    await host.sh(`umount ${source}; mount ${host.host.volumes.source.device} ${source}`);
    expect(lines.volumes).toMatch(/^PROBLEM .*another volume/);
    expect(issues(await server.mail(1))).toContain("another volume");
  }, 120_000);

  it("a real error of rsync sends one alert, with rsync's own words", async () => {
    await install();
    await host.monitor();
    await host.sh(
      `echo 1 >${source}/held; lsyncd-wait; chattr +i ${target}/held; echo 22 >${source}/held; ${loggedError}`,
    );
    const run = await host.monitor();
    await host.monitor();
    // A new lsyncd mirrors them at once; the running one would wait for up to a minute.
    await host.sh(`chattr -i ${target}/held; systemctl restart lsyncd`);
    await host.synced();
    expect(run).toMatchObject({ code: 1 });
    expect(server.subjects.filter((subject) => subject === alertSubject)).toHaveLength(1);
    const mail = await server.mail(1);
    expect(issues(mail)).toContain("exitcode: 23");
    expect(issues(mail)).toContain('-> "held"');
    expect(issues(mail)).toContain("Operation not permitted");
  }, 120_000);

  it("a blocked rsync sends alerts: a backlog, and a mirror that does not move", async () => {
    await install();
    await host.sh(`touch /tmp/hold
      (while [ -e /tmp/hold ]; do pkill -STOP -x rsync; sleep 0.01; done) >/dev/null 2>&1 &
      sleep 0.5; for file in $(seq 300); do echo >${source}/pending-$file; sleep 0.01; done
      for try in $(seq 60); do grep -qE '^There are [0-9]{3,} delays' /var/log/lsyncd/lsyncd.status && break; sleep 1; done
      rm /tmp/hold`);
    const run = await host.monitor();
    await host.sh(`pkill -CONT -x rsync; sleep 2; rm -f ${source}/pending-*`);
    expect(run.lines.backlog).toMatch(/^PROBLEM \d{3,} changes are pending/);
    expect(run.lines.moving).toMatch(/^PROBLEM /);
    expect(run.seconds).toBeLessThan(30);
    expect(server.subjects).toEqual([alertSubject]);
    await host.synced();
    expect(await host.sh(`ls -A ${source} ${target} | grep -c probe`, { allowFailure: true })).toBe("0");
  }, 150_000);

  it("a target that is nearly full, or full, sends an alert", async () => {
    await install();
    await host.sh(`fallocate -l $(($(df --output=avail -B1 ${target} | tail -n 1) - 20000000)) ${target}/ballast`);
    const near = await host.monitor();
    await host.sh(`head -c 120M /dev/urandom >${source}/large; ${loggedError}`);
    const full = await host.monitor();
    await host.sh(`rm -f ${target}/ballast ${source}/large; systemctl restart lsyncd`);
    expect(near.lines.disk).toMatch(/^PROBLEM the target is 9\d % full \(limit 90 %\)/);
    expect(full.lines.log).toMatch(/exitcode/);
    expect(full.lines.disk).toMatch(/; the target has no room for 1 files, which are not mirrored; one is large$/);
    const mail = issues(await server.mail(2));
    expect(mail).toContain("the target has no room for 1 files, which are not mirrored; one is large");
    expect(mail).toMatch(/no room in the mirror for large: it needs 12\d MB, \d+ are free/);
    await host.synced();
  }, 150_000);

  it("a target without free inodes sends an alert", async () => {
    await install({ diskLimit: 10 });
    await host.sh(`mkdir ${target}/many; cd ${target}/many
      touch $(seq $(($(df --output=itotal ${target} | tail -n 1) / 8)))`);
    const { lines } = await host.monitor();
    await host.sh(`rm -rf ${target}/many`);
    expect(lines.disk).toMatch(/^PROBLEM the target has used \d+ % of its inodes \(limit 10 %\)/);
  }, 120_000);
});

describe("beyond the documented triggers", () => {
  it("a hanging target: each run ends within 30 s, and runs do not accumulate", async () => {
    await install();
    await host.sh(`systemctl stop lsyncd; umount ${target}; mkdir -p /srv/slow; bindfs /srv/slow ${target}
      ${host.noteVolumes()}
      systemctl start lsyncd`);
    await host.synced();
    // The kernel caches attributes of a FUSE file system for a second.
    await host.sh("pkill -STOP -x bindfs; sleep 2");
    const runs = [await host.monitor(), await host.monitor()];
    await host.sh(`pkill -CONT -x bindfs; systemctl stop lsyncd; for try in $(seq 50); do umount ${target} && break; sleep 0.2; done
      mount ${host.host.volumes.target.device} ${target}; rm -rf /srv/slow`);
    for (const run of runs) {
      expect(run.seconds).toBeLessThan(30);
      expect(run.code).toBe(1);
      expect(run.lines.volumes).toMatch(/^PROBLEM no answer within 3 s/);
      expect(run.lines.moving).toBe("skipped see volumes");
    }
    expect(server.subjects).toEqual([alertSubject]);
  }, 120_000);

  it("an unkillable process is left behind once, and removed when possible", async () => {
    await install();
    await host.sh(`fsfreeze --freeze ${source}`);
    const look = async () => {
      try {
        const [one, two] = [await host.monitor(), await host.monitor()];
        return {
          first: one,
          second: two,
          stuck: await host.sh("ps -eo stat,args | grep -c '^D.*volume-file make' || true"),
        };
      } finally {
        // Whatever failed: on a frozen volume nothing later would work, nor could the host be removed.
        await host.sh(`fsfreeze --unfreeze ${source}; sleep 3`);
      }
    };
    const { first, second, stuck } = await look();
    const last = await host.monitor();
    expect(first.lines.moving).toMatch(/^PROBLEM no answer/);
    expect(first.seconds).toBeLessThan(30);
    expect(second.lines.moving).toMatch(/^PROBLEM no answer/);
    expect(stuck).toBe("1");
    expect(last.code).toBe(0);
    expect(await host.sh(`ls -A ${source} ${target} | grep -c probe`, { allowFailure: true })).toBe("0");
  }, 120_000);

  it("an lsyncd stopped by a signal sends an alert", async () => {
    await install();
    await host.sh("pkill -STOP -x lsyncd");
    const { lines } = await host.monitor();
    await host.sh("pkill -CONT -x lsyncd");
    expect(lines.service).toMatch(/^PROBLEM .*stopped by a signal/);
  }, 120_000);

  it("repeated restarts of lsyncd send an alert", async () => {
    await install({ restartLimit: 2 });
    await host.monitor();
    await host.sh(killLsyncd(2));
    expect((await host.monitor()).lines.restarts).toBe(
      "PROBLEM systemd restarted lsyncd 2 times in the last hour (limit 2)",
    );
    expect((await host.monitor(realNow() + 3700)).lines.restarts).toMatch(/^ok/);
  }, 150_000);

  it("memory or watches near their limits send an alert", async () => {
    await install({ memoryLimit: 1, watchLimit: 1 });
    // lsyncd writes its status every ten seconds, when something has changed.
    await host.sh(
      `systemctl set-property --runtime lsyncd.service MemoryMax=100M
      some=$(($(</proc/sys/fs/inotify/max_user_watches) / 90)); mkdir ${source}/many; cd ${source}/many; mkdir $(seq $some)
      ${until(`touch ${source}/many/again; [ "$(grep -oE '^Inotify watching [0-9]+' /var/log/lsyncd/lsyncd.status | tr -dc 0-9)" -gt $some ]`)}`,
      { timeoutMs: 120_000 },
    );
    const { lines } = await host.monitor();
    await host.sh(`rm -rf ${source}/many; rm -r /run/systemd/system.control/lsyncd.service.d; systemctl daemon-reload`);
    await host.synced();
    expect(lines.memory).toMatch(/^PROBLEM lsyncd uses \d+ MiB of the unit's limit of 100 MiB \(over 1 %\)$/);
    expect(lines.watches).toMatch(
      /^PROBLEM lsyncd uses \d+ of \d+ watches \(over 1 %\): raise fs\.inotify\.max_user_watches/,
    );
  }, 240_000);

  it("databases that stay behind send an alert with the cause", async () => {
    await install();
    const line = (age: number, cause: string, path: string) => `${realNow() - age}.5\\t${cause}\\t${path}\\tbusy\\n`;
    await host.sh(
      `mkdir -p /var/lib/lsyncd-as-code/sqlite; printf 'updated\\t1.0\\tpending\\t3\\toldest\\t9\\n${line(900, "locked", "a b.sqlite")}${line(400, "error", "c.sqlite")}${line(10, "queued", "d.sqlite")}' >/var/lib/lsyncd-as-code/sqlite/status.tsv`,
    );
    const { lines } = await host.monitor();
    await host.sh("rm /var/lib/lsyncd-as-code/sqlite/status.tsv");
    expect(lines.databases).toContain("1 databases are behind in the mirror (locked): a b.sqlite for 9");
    expect(lines.databases).toContain("1 databases are behind in the mirror (error): c.sqlite for 4");
    expect(lines.databases).not.toContain("d.sqlite");
  }, 120_000);

  it("an emptied source sends an alert", async () => {
    await install();
    await host.monitor();
    await host.sh(
      `mkdir /srv/aside; mv ${source}/[a-z]* /srv/aside/ 2>/dev/null; rmdir ${source}/lost+found 2>/dev/null; true`,
    );
    const { lines } = await host.monitor();
    await host.sh(`cp -a /srv/aside/. ${source}/; rm -r /srv/aside`);
    expect(lines.source).toMatch(/^PROBLEM the source is empty now/);
  }, 120_000);

  it("an interrupted run is reported by the next run", async () => {
    await install();
    await host.sh(
      `systemctl start --no-block lsyncd-monitor.service; ${monitorBegan}; systemctl kill -s KILL lsyncd-monitor.service
      ${until("systemctl is-failed lsyncd-monitor.service")}`,
    );
    expect(await host.sh("systemctl is-failed lsyncd-monitor.service")).toBe("failed");
    expect((await host.monitor()).lines.monitor).toMatch(/^PROBLEM the previous run was interrupted/);
    expect((await host.monitor()).lines.monitor).toMatch(/^ok/);
  }, 120_000);

  it("a log rotation loses no line, and old lines are never reported again", async () => {
    await install();
    const log = "/var/log/lsyncd/lsyncd.log";
    const line = (what: string) => `$(date '+%a %b %e %H:%M:%S %Y') ${what}`;
    await host.sh(`echo "${line("Error: old")}" >>${log}`);
    expect((await host.monitor()).lines.log).toMatch(/^ok/);
    await host.sh(`echo "${line("Error: before")}" >>${log}; logrotate -f /etc/logrotate.d/lsyncd-as-code
      echo "${line("Normal: Retrying a list after exitcode = 12")}" >>${log}`);
    expect((await host.monitor()).lines.log).toMatch(/^PROBLEM .*Error: before; .*exitcode = 12$/);
    expect((await host.monitor()).lines.log).toMatch(/^ok/);
    await host.sh(`: >${log}; echo "${line("Error: cut off")}" >>${log}`);
    expect((await host.monitor()).lines.log).toMatch(/^PROBLEM .*Error: cut off/);
    await host.synced();
    expect(await host.sh(`grep -c synced ${log}`)).not.toBe("0");
  }, 150_000);

  it("only one run works at a time", async () => {
    await install();
    const [first, second] = await Promise.all([
      host.sh("mkdir -p /run/lsyncd-as-code/alerts; flock /run/lsyncd-as-code/alerts/monitor.lock sleep 6"),
      new Promise<void>((resolve) => setTimeout(resolve, 500)).then(() => host.monitor()),
    ]);
    expect(first).toBe("");
    expect(second).toMatchObject({ code: 2 });
    expect(second.output).toContain("another check is running");
  }, 120_000);
});
