import { succeeded } from "../support/deployment";
import { row } from "../support/faults";
import { mailFile, mailSettings, prepareVm, startMailServer, testMs, type VmDeployment } from "../support/vm";

// A kernel of its own: volumes with XFS, targets with room that a quota does not give, and the profile of Debian's msmtp.

jest.setTimeout(testMs);

const source = "/mnt/storage_do_1";
const target = "/mnt/storage_do_2";
let d: VmDeployment;
let kernel: string;

beforeAll(async () => {
  d = await prepareVm({ fileSystem: "xfs" });
  kernel = await d.on("uname -r");
  await d.on(
    `id alice >/dev/null 2>&1 || useradd alice; mkdir -p ${source}/mail && for i in $(seq 30); do echo "mail $i" >${source}/mail/$i; done; chown -R alice ${source}/mail`,
  );
  await d.deploy(mailSettings);
});
afterAll(async () => {
  await d.remove();
});

it("XFS is mirrored, as source and as target, and a verification finds nothing", async () => {
  expect(await d.on(`stat -f -c %T ${source} ${target}`)).toBe("xfs\nxfs");
  await d.on(`cd ${source} && touch Name name && ln Name other && chmod 640 name`);
  await d.identical();
  await d.mirrors();
  await d.on(`rm ${source}/mail/3 && mv ${source}/mail ${source}/post`);
  await d.identical();
  const verified = await d.attempt("lsyncd-verify --checksum");
  expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining(" 0 faults")]);
  await row({
    injected: `Both volumes XFS on LUKS2 (kernel ${kernel}): a deployment, changes, a renamed directory`,
    happened: "all of it arrived, and lsyncd-verify --checksum found nothing",
    lost: 0,
  });
});

it("Debian's profile for msmtp, in force, lets every alert out", async () => {
  await startMailServer(d);
  await d.on("rm -f /etc/apparmor.d/disable/usr.bin.msmtp; apparmor_parser -r -T -W /etc/apparmor.d/usr.bin.msmtp");
  expect(await d.on("cat /sys/kernel/security/apparmor/profiles")).toContain("msmtp (enforce)");
  // It is in force: a file that it does not name cannot be read.
  await d.on("cp /root/.msmtprc-lsyncd /etc/lsyncd/msmtprc; chmod 600 /etc/lsyncd/msmtprc");
  expect((await d.attempt("msmtp --file=/etc/lsyncd/msmtprc --pretend a@example.org </dev/null")).stderr).toMatch(
    /Permission denied/,
  );
  const denied = "journalctl -b -k --no-pager | grep 'apparmor=.DENIED' || true";
  const before = await d.on(denied);
  expect(before).toContain("/etc/lsyncd/msmtprc");
  expect(await d.on("rm /etc/lsyncd/msmtprc; lsyncd-monitor.sh --test-alert")).toContain("passed to msmtp");
  await d.on("systemctl kill -s KILL lsyncd");
  await d.until("the alert of a failure arrives", async () =>
    /Subject: .*lsyncd/i.test(await d.on(`grep -v test ${mailFile} || true`)),
  );
  // A password out of a file, by the command that the documents name.
  await d.on(`printf secret >/root/password; chmod 600 /root/password
    sed -i 's/^auth off/auth plain\\nuser ops\\npasswordeval cat \\/root\\/password/' /root/.msmtprc-lsyncd`);
  expect(await d.on("msmtp --file=/root/.msmtprc-lsyncd --pretend a@example.org </dev/null")).toContain("password");
  expect(await d.on(denied)).toBe(before);
});

describe("XFS with the quota of a project", () => {
  const limit = (megabytes: number): Promise<string> =>
    d.on(`xfs_quota -x -c 'limit -p bhard=${String(megabytes)}m 7' ${target}`);

  beforeAll(async () => {
    await d.on(`mkdir -p ${source}/small`);
    await d.identical();
    await d.on(
      `systemctl stop lsyncd; umount ${target}; mount -o prjquota ${target}; xfs_quota -x -c 'project -s -p ${target}/small 7' ${target} >/dev/null`,
    );
    await limit(20);
    await d.on("systemctl start lsyncd", { allowFailure: true });
    await d.mirrors("began");
  });

  it("a file over it keeps no other from the mirror, is reported, and arrives once the quota is raised", async () => {
    await d.on(`head -c 60M /dev/urandom >${source}/small/large`);
    await d.mirrors("beside");
    await d.mirrors("small/little");
    await d.until("it is reported", async () => /no room for 1 files.*small\/large/.test(await d.monitor()));
    expect((await d.attempt(`stat -c %s ${target}/small/large`)).code).not.toBe(0);
    await limit(200);
    await d.identical();
    expect(await d.monitor()).not.toContain("no room");
    await row({
      injected: `A directory of the target has a project quota (XFS, kernel ${kernel}); a file beyond it is written`,
      happened: "the file was reported and everything else arrived; once the quota was raised it arrived too",
      lost: 0,
    });
  });

  it("nor do many small ones", async () => {
    await d.on(`rm ${source}/small/large`);
    await d.identical();
    await limit(20);
    await d.on(`for i in $(seq 400); do head -c 200000 /dev/urandom >${source}/small/$i; done`);
    await d.mirrors("beside");
    // rsync's own errors are reported once; the missing files as long as they are missing.
    for (const run of [1, 2]) {
      await d.until(`run ${run} reports it`, async () =>
        /no room for|no full pass has copied the files/.test(await d.monitor()),
      );
    }
    await limit(200);
    await d.identical();
  });
});

it("a user at the quota of an ext4 keeps no other's file from the mirror", async () => {
  await d.on(
    `systemctl stop lsyncd; umount ${target}; mkfs.ext4 -q -F -O quota /dev/mapper/nvme2n1; mount -t ext4 /dev/mapper/nvme2n1 ${target}
     sed -i 's|^/dev/mapper/nvme2n1 .*|/dev/mapper/nvme2n1 ${target} ext4 noauto 0 2|' /etc/fstab; systemctl daemon-reload
     command -v setquota >/dev/null || { apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends quota >/dev/null; }
     quotaon -u ${target} 2>/dev/null; setquota -u alice 0 20000 0 0 ${target}`,
  );
  // A service that an operator has stopped stays stopped; one that waits for its volume is started by a deployment.
  await d.on("systemctl start lsyncd", { allowFailure: true });
  await d.until("it waits for its volume", async () =>
    (await d.on("systemctl show -P StatusText lsyncd")).includes("another volume is mounted"),
  );
  const volume = await d.on("blkid -o value -s UUID /dev/mapper/nvme2n1");
  await d.stack.configure([d.host], { requireEncryption: true, acceptVolumes: [volume] });
  succeeded(await d.stack.up(undefined, { LSYNCD_SKIP_SAFETY: "true" }));
  await d.on(`mkdir -p ${source}/post`);
  await d.identical();
  await d.on(
    `head -c 60M /dev/urandom >/root/large; mv /root/large ${source}/post/large; chown alice ${source}/post/large`,
  );
  await d.mirrors("of-root");
  await d.until("it is reported", async () => (await d.monitor()).includes("PROBLEM"));
  await d.on(`setquota -u alice 0 0 0 0 ${target}`);
  await d.identical();
  await d.until("its owner too", async () => (await d.on(`stat -c %U ${target}/post/large`)) === "alice");
  await row({
    injected: `A user is at the quota of the target (ext4, kernel ${kernel}); a file of that user is written beyond it`,
    happened: "files of others arrived; once the quota was raised the large one had arrived with its owner",
    lost: 0,
  });
});
