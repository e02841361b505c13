import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderFiles } from "../../infra/files";
import { run } from "../../toolchain/run";
import { recipients, shownMail, type SampleName } from "../../tools/docs/samples";
import { library } from "../support/monitor";
import { installTime, needPrograms } from "../support/programs";
import { wordedAsSampled } from "../support/samples";
import { hostOf } from "../unit/support/settings";

// docs/alerts-samples.md, and with it the picture of an alert, against what the monitor and lsyncd-alert write today: the whole
// programs run here with a host's own paths, in namespaces of their own. Only systemd, the journal, lsyncd and sendmail are
// simulated, in the states that the samples show.

/** Mails in the order in which they are sent. */
const mails = ["test", "alert", "recovered", "failed", "again", "undone"] as const satisfies SampleName[];
const printed = ["healthy", "sick"] as const satisfies SampleName[];

/** Stand-ins for systemd, the journal and sendmail, in /usr/local/sbin. */
const programs = {
  systemctl: `case "$*" in
    "show lsyncd.service --property "*) cat /run/simulated/unit ;;
    "show lsyncd-monitor.timer "*) printf 'active\\nenabled\\n' ;;
    "show --property UserspaceTimestampMonotonic --value") echo 0 ;;
    is-failed*) exit 1 ;;
    *" status lsyncd.service") echo "* lsyncd.service" ;;
    esac`,
  journalctl: 'echo "-- cursor: s=1"',
  "systemd-run": ":",
  sendmail: 'cat >"/run/simulated/mails/$(($(ls /run/simulated/mails | wc -l) + 1))"',
};

/** The script of all samples; `$1` is the folder of the rendered files, `$2` that of the programs, `$3` that of the results. */
const script = `set -eu
hostname sqlite-1
mount -t tmpfs none /usr/local
mkdir -p /usr/local/bin /usr/local/sbin /usr/local/lib/lsyncd-as-code
mount --bind "$2" /usr/local/lib/lsyncd-as-code
cp "$1"/bin/* /usr/local/sbin/
cp "$1/lsyncd-monitor.sh" /usr/local/bin/
for place in /run /var/lib /var/log /mnt; do mount -t tmpfs none "$place"; done
mkdir -p /mnt/storage_do_1 /mnt/storage_do_2 /run/simulated/mails /var/log/lsyncd /var/lib/lsyncd-as-code/sqlite
mount -t tmpfs one /mnt/storage_do_1
mount -t tmpfs two /mnt/storage_do_2
cd /run/simulated

state() { # ActiveState SubState
  printf '%s\\n' LoadState=loaded "ActiveState=$1" "SubState=$2" Result=success MainPID=$lsyncd NRestarts=0 \\
    ControlGroup=/../../../run/simulated MemoryMax=1073741824 >unit
}
cp /bin/sleep lsyncd
./lsyncd 300 &
lsyncd=$!
echo "$lsyncd" >cgroup.procs
# Mirrors the monitor's probe.
(while sleep 0.05; do
  probe=.lsyncd-monitor-probe
  if [ -e "/mnt/storage_do_1/$probe" ]; then
    cp "/mnt/storage_do_1/$probe" copied 2>/dev/null && mv copied "/mnt/storage_do_2/$probe"
  else rm -f "/mnt/storage_do_2/$probe"; fi
done) &
printf '%s\\t%s\\n' source tmpfs:one target tmpfs:two >/var/lib/lsyncd-as-code/volumes
echo x >/mnt/storage_do_1/customers.sqlite
echo started >/var/log/lsyncd/lsyncd.log
: >/var/lib/lsyncd-as-code/sqlite/status.tsv
printf 'There are 1 delays\\n\\nInotify watching 2 directories\\n' >/var/log/lsyncd/lsyncd.status
alert=/usr/local/lib/lsyncd-as-code/lsyncd-alert
monitor() { /usr/local/bin/lsyncd-monitor.sh || [ $? = 1 ]; }
later=$(($(date +%s) + 3600))

state active running
"$alert" test >/dev/null
monitor >/dev/null
monitor >"$3/healthy"
state inactive dead
monitor >"$3/sick"
state active running
monitor >/dev/null

failed() { SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=1 LSYNCD_MONITOR_NOW=$1 "$alert" service-stopped; }
failed "$((later - 3600))"
"$alert" now
failed "$((later - 3500))"
failed "$((later - 3400))"
LSYNCD_MONITOR_NOW=$((later + 60)) "$alert" now

cd /var/lib/lsyncd-as-code
mkdir -m 0700 transaction
for record in manifest id volumes; do echo x >transaction/$record.old; done
: >transaction/absent
printf '%s lsyncd.service\\n%s lsyncd-monitor.timer\\n' enabled enabled running running >transaction/units.old
echo swapping >transaction/phase
/usr/local/lib/lsyncd-as-code/lsyncd-undo 2>/dev/null
"$alert" now
cp /run/simulated/mails/* "$3"
`;

let folder: string;
beforeAll(async () => {
  await needPrograms("bash", "perl");
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-samples-"));
  const host = hostOf({ alertRecipients: recipients });
  for (const name of ["settings", "bin", "results"]) await mkdir(join(folder, name));
  for (const { path, content } of renderFiles(host)) {
    const [, name] = /^\/etc\/lsyncd\/(.*\.conf)$/.exec(path) ?? [];
    if (name !== undefined) await writeFile(join(folder, "settings", name), content);
    if (path.endsWith("/lsyncd-monitor.sh"))
      await writeFile(join(folder, "lsyncd-monitor.sh"), content, { mode: 0o755 });
  }
  for (const [name, text] of Object.entries(programs))
    await writeFile(join(folder, "bin", name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  const apart = ["--mount", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"];
  const { code, stderr } = await run(
    "unshare",
    [...apart, "bash", "-c", script, "samples", folder, library, join(folder, "results")],
    { env: { ...process.env, LSYNCD_SETTINGS: join(folder, "settings") }, allowFailure: true },
  );
  if (code !== 0) throw new Error(`exit ${code}: ${stderr}`);
}, installTime);
afterAll(() => rm(folder, { recursive: true, force: true }));

it.each(printed)(
  "the sample of a run, %s, is what the monitor prints; to update it: npm run docs -- --samples",
  async (name) => {
    wordedAsSampled(name, await readFile(join(folder, "results", name), "utf8"));
  },
);

it.each(mails)(
  "the sample of a mail, %s, is what lsyncd-alert sends; to update it: npm run docs -- --samples",
  async (name) => {
    const raw = await readFile(join(folder, "results", String(mails.indexOf(name) + 1)));
    wordedAsSampled(name, await shownMail(name, raw));
  },
);

it("no other mail is sent", () => {
  expect(existsSync(join(folder, "results", String(mails.length + 1)))).toBe(false);
});
