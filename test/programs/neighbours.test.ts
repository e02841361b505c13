import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { script } from "../../infra/commands/script";

const SOURCE = "/mnt/storage_do_1";
const TARGET = "/mnt/storage_do_2";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "neighbours-"));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

/** The findings on a host with these files, one line each, refusals first. */
function found(files: Record<string, string>, more = ""): string[] {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  const variables = {
    SOURCE,
    TARGET,
    LOG: "/var/log/lsyncd/lsyncd.log",
    ROOT: root,
    MOUNTINFO: join(root, "mountinfo"),
  };
  writeFileSync(variables.MOUNTINFO, files.mountinfo ?? "");
  const text = `${script(variables, ["volume.sh", "report.sh", "neighbours.sh"])}
    ${more}
    check_neighbours
    for one in "\${findings[@]}"; do printf 'refuses: %s\\0' "$one"; done
    for one in "\${warnings[@]}"; do printf 'warns: %s\\0' "$one"; done`;
  const { stdout, stderr } = spawnSync("bash", ["--norc", "-u", "-c", 'eval "$(cat)"'], {
    input: text,
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  return stdout.split("\0").slice(0, -1);
}

it("reports nothing on a host without other tools, or with harmless ones", () => {
  expect(found({})).toEqual([]);
  const harmless = {
    "etc/logrotate.conf": "weekly\ninclude /etc/logrotate.d\n",
    "etc/logrotate.d/rsyslog": "/var/log/syslog\n/var/log/mail.log\n{\n\tdaily\n}\n",
    "etc/logrotate.d/lsyncd-as-code": "/var/log/lsyncd/lsyncd.log {\n}\n",
    "etc/logrotate.d/lsyncd.disabled": "/var/log/lsyncd/*.log {\n}\n",
    "etc/crontab": `# rsync -a /x ${TARGET}\n17 * * * * root run-parts /etc/cron.hourly\n`,
    "etc/cron.d/backup": `0 3 * * * root rsync -a ${TARGET}/ backup@far:/data/ >/dev/null 2>&1\n0 4 * * * root rsync -a /a ${TARGET}0\n`,
    "etc/updatedb.conf": `PRUNEPATHS="/tmp /mnt"\n`,
    "etc/tmpfiles.d/x.conf": "d /run 0755 root root -\nd /run/other 0755 root root 1d\n",
    "etc/systemd/system/lsyncd.service": "ExecStart=/usr/bin/lsyncd -nodaemon /etc/lsyncd/lsyncd.conf.lua\n",
    "etc/docker/daemon.json": '{ "data-root": "/var/lib/docker" }',
    mountinfo: `30 1 8:1 / ${SOURCE} rw - ext4 /dev/sda rw\n`,
  };
  expect(found(harmless)).toEqual([]);
});

describe("a second logrotate entry for our log", () => {
  it.each([
    ["/var/log/lsyncd/*.log {\n\tdaily\n}\n"],
    ["/var/log/lsyncd/lsyncd.log\n{\n}\n"],
    ['"/var/log/lsyncd/lsyncd.log" /var/log/other.log {\n}\n'],
    ["/var/log/*/*.log {\n}\n"],
  ])("is refused and named: %j", (entry) => {
    expect(found({ "etc/logrotate.d/lsyncd": entry })).toEqual([
      expect.stringMatching(
        /^refuses: \/etc\/logrotate\.d\/lsyncd rotates .* Remove it: rm \/etc\/logrotate\.d\/lsyncd$/,
      ),
    ]);
  });
});

it.each([
  ["etc/crontab", `*/5 * * * * root rsync -a --delete ${SOURCE}/ ${TARGET}/`],
  ["etc/cron.d/mirror", `0 2 * * * root /usr/bin/rsync -a /srv/ "${TARGET}/srv" >/dev/null 2>&1`],
  ["etc/cron.daily/mirror", `#!/bin/sh\nrsync -a /x ${TARGET} && echo ok\n`],
  ["var/spool/cron/crontabs/root", `@daily rsync -a /x ${TARGET};date`],
  ["etc/systemd/system/mirror.service", `[Service]\nExecStart=/usr/bin/rsync -a /x ${TARGET}\n`],
])("another rsync to the target is refused, and its line is shown: %s", (path, text) => {
  expect(found({ [path]: text })).toEqual([
    expect.stringMatching(new RegExp(`^refuses: /${path} copies to the target as well: `)),
  ]);
});

it.each([
  [
    "etc/supervisor/conf.d/l.conf",
    "command=/usr/bin/lsyncd -nodaemon /etc/mine.lua",
    /^refuses: .* starts a lsyncd of its own/,
  ],
  ["etc/cron.d/l", "@reboot root lsyncd /etc/mine.conf", /^refuses: .* starts a lsyncd of its own/],
  ["etc/monit/conf.d/l", 'start program = "/bin/systemctl start lsyncd"', /^warns: .* starts lsyncd too/],
  ["etc/cron.d/l", "* * * * * root pgrep lsyncd || service lsyncd restart", /^warns: .* starts lsyncd too/],
  [
    "etc/cron.d/b",
    `0 3 * * * root fsfreeze -f ${TARGET}; backup; fsfreeze -u ${TARGET}`,
    /^warns: .* freezes a volume/,
  ],
  [
    "etc/updatedb.conf",
    'PRUNEPATHS="/tmp /mnt/storage_do_1"',
    /^warns: updatedb indexes the mirror.* Add \/mnt\/storage_do_2 /,
  ],
  [
    "etc/tmpfiles.d/run.conf",
    "d /run 0755 root root 10d",
    /^warns: \/etc\/tmpfiles\.d\/run\.conf makes systemd-tmpfiles/,
  ],
  ["usr/lib/tmpfiles.d/run.conf", "e /run/* - - - 1d", /^warns: \/usr\/lib\/tmpfiles\.d\/run\.conf makes/],
  [
    "etc/docker/daemon.json",
    `{\n  "data-root": "${SOURCE}/docker"\n}`,
    /^refuses: \/etc\/docker\/daemon\.json .*inside the source/,
  ],
  ["etc/containerd/config.toml", `root = "${TARGET}"`, /^refuses: \/etc\/containerd\/config\.toml .*inside the target/],
  [
    "mountinfo",
    `30 1 0:40 / ${SOURCE} rw - autofs systemd-1 rw\n31 30 8:1 / ${SOURCE} rw - ext4 /dev/sda rw\n`,
    /^refuses: The source .* on demand/,
  ],
])("is found: %s with %s", (path, text, finding) => {
  expect(found({ [path]: text })).toEqual([expect.stringMatching(finding)]);
});

describe("a file system", () => {
  const of = (type: string, more = ""): string[] =>
    found({}, `mounted_at() { mount_type=${type}; mount_device=/dev/x; [ "$1" = '${TARGET}' ]; }\n${more}`);

  it.each(["ext4", "xfs", "btrfs", "zfs"])("%s is accepted", (type) => {
    expect(of(type, "dumpe2fs() { echo 'Filesystem features:      has_journal extent'; }")).toEqual([]);
  });

  it.each([
    ["overlay", "is a layered file system"],
    ["nfs4", "is on another machine"],
    ["exfat", "is exfat, which does not preserve owners"],
  ])("%s is refused", (type, why) => {
    expect(of(type)).toEqual([expect.stringContaining(`refuses: The target ${TARGET} ${why}`)]);
  });

  it("that ignores upper and lower case in names is refused", () => {
    const casefold = "dumpe2fs() { echo 'Filesystem features:      has_journal casefold extent'; }";
    expect(of("ext4", casefold)).toEqual([expect.stringContaining("differ only in case")]);
  });
});
