import { execOn, kill, boot, quote, reboot } from "../../tools/sandbox";
import { content, eventually, failed, mirrored, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { files, identical, missingFrom, row } from "../support/faults";

jest.setTimeout(300_000);

let d: Deployment;
const mainPid = () => on(d.host, "systemctl show -p MainPID --value lsyncd");
const inMirror = async (path: string, text: string) => {
  await mirrored(d.host);
  expect(await on(d.host, `cat '${d.host.target}/${path}'`)).toBe(text);
};
const notInMirror = async (path: string) => {
  await mirrored(d.host);
  expect((await execOn(d.host, `test -e '${d.host.target}/${path}'`, { allowFailure: true })).code).toBe(1);
};

beforeAll(async () => {
  d = await prepare("deploy");
});
afterAll(async () => {
  await d.remove();
});

describe("a first deployment", () => {
  it("mirrors existing, new, changed, renamed and deleted files", async () => {
    const { host, stack } = d;
    await on(
      host,
      `mkdir ${host.source}/mail && echo before > ${host.source}/mail/first && echo lead > ${host.source}/.hidden`,
    );
    expect(succeeded(await stack.up())).toContain("no alert will be sent when the mirror fails");
    await inMirror("mail/first", "before");
    await inMirror(".hidden", "lead");

    await on(host, `echo new > ${host.source}/mail/created`);
    await inMirror("mail/created", "new");
    await on(host, `echo changed > ${host.source}/mail/first`);
    await inMirror("mail/first", "changed");
    await on(host, `mv ${host.source}/mail/first ${host.source}/renamed`);
    await inMirror("renamed", "changed");
    await notInMirror("mail/first");
    await on(host, `rm ${host.source}/mail/created`);
    await notInMirror("mail/created");
    await on(host, `rm -r ${host.source}/mail`);
    await notInMirror("mail");
    expect(await content(host, host.target)).toBe(await content(host, host.source));
  });

  it("compares a change with few others (lsyncd-delays.lua)", async () => {
    const log = await on(d.host, "cat /var/log/lsyncd/lsyncd.log; journalctl -u lsyncd -o cat");
    expect(log).toContain("Normal: ");
    expect(log).not.toContain("each change will be compared");
  });

  it("has a process ready for lsyncd's next call, which does it (Ready.pm)", async () => {
    // Field 11 of proc_pid_stat(5): the page faults of children that have ended. Only those that do calls have any.
    const mirror = (name: string): string =>
      `touch ${d.host.source}/${name}; until [ -e ${d.host.target}/${name} ]; do sleep 0.05; done`;
    const said = await on(
      d.host,
      `${mirror("ready1")}; sleep 0.5; ready=$(pgrep -o -f '^/usr/bin/perl .*/rsync-wrapper'); ls /run/lsyncd-as-code/ready.* | wc -l
       before=$(cut -d' ' -f11 /proc/$ready/stat); ${mirror("ready2")}; sleep 0.5
       [ "$(cut -d' ' -f11 /proc/$ready/stat)" -gt "$before" ] && echo 'it did the call'
       rm ${d.host.source}/ready[12]`,
    );
    expect(said.trim()).toBe("1\nit did the call");
  });

  it("exports the values that an operator needs first", async () => {
    const { hosts } = (await d.stack.outputs()) as { hosts: Record<string, Record<string, string>> };
    expect(hosts[d.host.name]).toMatchObject({
      source: "/mnt/storage_do_1",
      target: "/mnt/storage_do_2",
      service: expect.stringMatching(/^active since /) as string,
      timer: "active",
      version: "2.2.3",
    });
  });

  it("installs every file of the documentation at its path", async () => {
    const files = [
      ["/etc/lsyncd/lsyncd.conf.lua", "644"],
      ["/usr/local/bin/lsyncd-monitor.sh", "755"],
      ["/etc/systemd/system/lsyncd.service.d/override.conf", "644"],
      ["/etc/systemd/system/lsyncd-monitor.service", "644"],
      ["/etc/systemd/system/lsyncd-monitor.timer", "644"],
      ["/var/log/lsyncd/lsyncd.log", "644"],
      ["/var/log/lsyncd/lsyncd.status", "644"],
    ];
    for (const [path, mode] of files)
      expect(await on(d.host, `stat -c '%a %U %G' ${String(path)}`)).toBe(`${String(mode)} root root`);
  });

  it("enables the service and the timer", async () => {
    expect(await on(d.host, "systemctl is-enabled lsyncd lsyncd-monitor.timer 2>/dev/null")).toBe("enabled\nenabled");
    expect(await on(d.host, "systemctl is-active lsyncd lsyncd-monitor.timer")).toBe("active\nactive");
  });
});

describe("a second run", () => {
  it("reports no changes and does not restart lsyncd, with data in the target", async () => {
    const before = await mainPid();
    const text = succeeded(await d.stack.up([]));
    expect(text).toMatch(/\d+ unchanged/);
    expect(text).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
    expect(await mainPid()).toBe(before);
  });

  it("with wholeFile: false, writes only the changed part of a large file", async () => {
    const { source, target } = d.host;
    await on(
      d.host,
      `head -c 16M /dev/urandom >${source}/large; until cmp -s ${source}/large ${target}/large; do sleep 0.2; done`,
    );
    /** Changes 4 KiB in the middle; returns the number of sectors that the mirror's disk had to write. */
    const sectors = async () => {
      const written = `awk -v d="$(mountpoint -d ${target})" '$1 ":" $2 == d { print $10 }' /proc/diskstats`;
      const counted = await on(
        d.host,
        `sync -f ${target}; before=$(${written})
         head -c 4096 /dev/urandom | dd of=${source}/large bs=4096 seek=2000 conv=notrunc status=none
         until cmp -s ${source}/large ${target}/large; do sleep 0.2; done
         sync -f ${target}; echo $(($(${written}) - before))`,
      );
      return Number(counted);
    };
    const whole = await sectors();
    expect(whole * 512).toBeGreaterThan(16 << 20);
    await d.configure({ wholeFile: false });
    succeeded(await d.stack.up());
    expect(await sectors()).toBeLessThan(whole / 4);
  });

  it("with another delay, changes one file, shows the line in the preview, and puts it into force", async () => {
    const before = await mainPid();
    await d.configure({ delay: 5 });
    const preview = succeeded(await d.stack.preview());
    expect(preview).toMatch(/-\s+delay\s+= 1,/);
    expect(preview).toMatch(/\+\s+delay\s+= 5,/);
    const text = succeeded(await d.stack.up());
    expect(text.match(/sqlite-1-\S+ (updated|created)/g)).toEqual([
      "sqlite-1-preflight updated",
      "sqlite-1-activation updated",
    ]);
    expect(await on(d.host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain("= 5,");
    expect(await mainPid()).not.toBe(before);
    // lsyncd mirrors a change together with one that came before, such as the monitor's probe, but not each of three.
    const waits = await on(
      d.host,
      `for i in 1 2 3; do touch ${d.host.source}/late$i; s=$(date +%s%N); until [ -e ${d.host.target}/late$i ]; do sleep 0.05; done
         echo $((($(date +%s%N) - s) / 1000000)); done`,
    );
    expect(Math.max(...waits.split("\n").map(Number))).toBeGreaterThan(3000);
    await d.configure({});
    succeeded(await d.stack.up());
  });

  it("with another delay, starts few programs on the host and makes systemd reload no units", async () => {
    // In the host's own process namespace each process and thread has the next number.
    const number = async (): Promise<number> => Number(await on(d.host, "bash -c 'echo $BASHPID'"));
    const reloads = "journalctl _PID=1 -o cat --no-pager | grep -c '^Reloading' || true";
    const before = await on(d.host, reloads);
    const began = await number();
    await d.configure({ delay: 4 });
    succeeded(await d.stack.up());
    expect((await number()) - began).toBeLessThan(900);
    expect(await on(d.host, reloads)).toBe(before);
    await d.configure({});
    succeeded(await d.stack.up());
  });

  it("with other recipients, restarts no process of lsyncd", async () => {
    const before = await mainPid();
    await d.configure({ alertRecipients: "someone@example.com, other@example.com" });
    succeeded(await d.stack.up());
    expect(await on(d.host, "cat /etc/lsyncd/alerts.conf")).toContain(
      'recipient = "someone@example.com"\nrecipient = "other@example.com"\n',
    );
    expect(await mainPid()).toBe(before);
  });

  it("with MSMTP_RCPTS, uses it instead of the stack's recipients", async () => {
    succeeded(await d.stack.up(undefined, { MSMTP_RCPTS: "first@example.com" }));
    expect(await on(d.host, "cat /etc/lsyncd/alerts.conf")).toContain('recipient = "first@example.com"\n');
  });
});

describe("lsyncd", () => {
  it("is restarted after a kill -9", async () => {
    const lsyncd = await on(d.host, "pgrep -x lsyncd");
    await on(d.host, `kill -9 ${lsyncd}`);
    const state = () => on(d.host, "systemctl show -p SubState --value lsyncd");
    expect(await eventually(async () => (await state()) === "auto-restart")).toBe(true);
    await eventually(async () => (await state()) === "running", 20);
    await on(d.host, `echo again > ${d.host.source}/after-kill`);
    await inMirror("after-kill", "again");
  });

  it("comes back after a reboot, with its timer", async () => {
    await reboot(d.host);
    await eventually(
      async () => (await on(d.host, "systemctl is-active lsyncd lsyncd-monitor.timer")) === "active\nactive",
    );
    await on(d.host, `echo booted > ${d.host.source}/after-reboot`);
    await inMirror("after-reboot", "booted");
  });

  it("comes back after the host crashed", async () => {
    await kill(d.host);
    await boot(d.host);
    await eventually(
      async () => (await on(d.host, "systemctl is-active lsyncd lsyncd-monitor.timer")) === "active\nactive",
    );
    await on(d.host, `echo alive > ${d.host.source}/after-death`);
    await inMirror("after-death", "alive");
  });
});

describe("destroy", () => {
  it("removes what was installed and keeps both volumes", async () => {
    const before = [await content(d.host, d.host.source), await content(d.host, d.host.target)];
    succeeded(await d.stack.destroy());
    expect(
      await on(
        d.host,
        "find /etc/lsyncd /usr/local /etc/systemd/system /etc/logrotate.d -name '*lsyncd*' 2>/dev/null; pgrep -a lsyncd; true",
      ),
    ).toBe("");
    expect(await on(d.host, "dpkg-query -W -f '${db:Status-Status}' lsyncd 2>/dev/null || true")).not.toBe("installed");
    expect(await on(d.host, "find /var/lib/lsyncd-as-code /var/log/lsyncd -type f 2>/dev/null; true")).toBe(
      "/var/lib/lsyncd-as-code/volumes",
    );
    expect(await on(d.host, "stat -c %F /usr/local/bin /usr/local/sbin")).toBe("directory\ndirectory");
    expect([await content(d.host, d.host.source), await content(d.host, d.host.target)]).toEqual(before);
  });

  it("allows deploying the same pair again without skipping safety", async () => {
    succeeded(await d.stack.up());
    await on(d.host, `echo back > ${d.host.source}/after-destroy`);
    await inMirror("after-destroy", "back");
    await identical(d.host);
    await row({
      injected: "Destroyed, and deployed again without skipping safety",
      happened: "everything but the record of the volumes was removed; mirrored again",
      lost: missingFrom(await files(d.host, d.host.target), await files(d.host, d.host.source)),
    });
  });
});

describe("a path with quotes, spaces and Unicode letters", () => {
  const source = `/mnt/it's "the" $source %n é\\`;
  const target = "/mnt/a target; rm -rf x";

  it("is mirrored like any other path", async () => {
    const { host } = d;
    succeeded(await d.stack.destroy());
    await on(host, `mkdir -p ${quote(source)} ${quote(target)}`);
    await on(
      host,
      `umount ${host.source} ${host.target}; mount ${host.volumes.source.device} ${quote(source)}; mount ${host.volumes.target.device} ${quote(target)}`,
    );
    await d.configure({}, { [host.name]: { source, target } });
    succeeded(await d.stack.up());
    await on(host, `echo quoted > ${quote(source)}/${quote(`a "file" of it's own`)}`);
    await mirrored(host);
    expect(await on(host, `cat ${quote(target)}/${quote(`a "file" of it's own`)}`)).toBe("quoted");
    expect(await on(host, "lsyncd-monitor.sh || true")).toMatch(/^ok +volumes/m);
  });

  it("with a newline is refused before anything runs", async () => {
    await d.configure({}, { [d.host.name]: { source: "/mnt/a\nb" } });
    expect(failed(await d.stack.up())).toMatch(/hosts\[0\]\.source: must not contain control characters/);
  });
});
