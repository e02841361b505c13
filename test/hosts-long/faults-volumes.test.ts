import { mount, newDisk, reboot, remount, umount } from "../../tools/sandbox";
import { content, eventually, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, row, stopped, under } from "../support/faults";
import { lockedAtBoot, unmountedWhileRunning } from "../support/volume-faults";

jest.setTimeout(300_000);

let d: Deployment;

beforeAll(async () => {
  d = await prepare("volumes");
  await fill(d.host);
  succeeded(await d.stack.up());
  await identical(d.host);
});
afterAll(async () => {
  await d.remove();
});

const roles = ["source", "target"] as const;

describe("a volume that is not mounted at boot", () => {
  it("target: nothing is mirrored until it is mounted, then lsyncd runs by itself", () => lockedAtBoot(d, "target"));
});

describe("volumes that are mounted late in the boot", () => {
  it("delay the start of lsyncd, which then runs by itself", async () => {
    const { host } = d;
    const before = await files(host, host.target);
    // Like a slow disk: the mounts wait for a slow unit.
    await on(
      host,
      `printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sleep 25\\n' >/etc/systemd/system/slow-disk.service
       for mount in mnt-storage_do_1 mnt-storage_do_2; do
         mkdir -p /etc/systemd/system/$mount.mount.d
         printf '[Unit]\\nRequires=slow-disk.service\\nAfter=slow-disk.service\\n' >/etc/systemd/system/$mount.mount.d/slow.conf
       done`,
    );
    await reboot(host);
    // In this order: the disk appears, both are mounted, lsyncd starts.
    expect(
      await on(
        host,
        "journalctl -b -o cat --no-pager -u slow-disk -u lsyncd -u mnt-storage_do_1.mount -u mnt-storage_do_2.mount",
      ),
    ).toMatch(/Finished slow-disk[^]*Mounted mnt-[^]*Mounted mnt-[^]*Started lsyncd/);
    expect(
      Number(await on(host, "systemctl show -p ExecMainStartTimestampMonotonic --value lsyncd")) -
        Number(await on(host, "systemctl show -p ExecMainStartTimestampMonotonic --value slow-disk")),
    ).toBeGreaterThan(24e6);
    expect(missingFrom(await files(host, host.target), before)).toBe(0);
    const after = await mirrors(host);
    await identical(host);
    await on(
      host,
      "rm -r /etc/systemd/system/slow-disk.service /etc/systemd/system/mnt-*.mount.d && systemctl daemon-reload",
    );
    await row({
      injected: "Both volumes in fstab with nofail, mounted 25 s into the boot",
      happened: `lsyncd did not run before, and mirrored ${after} s after the boot`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("a volume that is unmounted while lsyncd runs", () => {
  it("target: lsyncd stops within seconds, and runs again once the volume is back", () =>
    unmountedWhileRunning(d, "target"));

  it.each(roles)("%s: lazily, during a large copy", async (role) => {
    const { host } = d;
    await on(host, `head -c 150000000 /dev/urandom >${host.source}/big && sync`);
    await eventually(async () => (await on(host, "pgrep -x rsync || true")) !== "", 20).catch(() => undefined);
    await umount(host, role, { lazy: true });
    const ended = await stopped(host, 45);
    expect(await under(host, role)).toBe("");
    await mount(host, role);
    await mirrors(host, 90);
    await identical(host);
    await on(host, `rm ${host.source}/big`);
    await identical(host);
    await row({
      injected: `The ${role} volume unmounted lazily (umount -l) in the middle of a copy; mounted again`,
      happened: `lsyncd and rsync ended within ${ended} s; nothing was written under the mount point`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("a volume that is unmounted while lsyncd is stopped", () => {
  it.each(roles)("%s: lsyncd starts at once and waits for it", async (role) => {
    const { host } = d;
    const before = await files(host, host.target);
    await on(host, "systemctl stop lsyncd");
    await umount(host, role);
    const start = await attempt(host, "systemctl start lsyncd");
    expect(start.code).toBe(0);
    expect(start.seconds).toBeLessThan(5);
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect(await under(host, role)).toBe("");
    const byHand = await attempt(host, "timeout 10 lsyncd -nodaemon -log all /etc/lsyncd/lsyncd.conf.lua");
    expect(byHand.code).not.toBe(0);
    expect(byHand.output).toContain(`lsyncd-guard: the ${role} volume is not mounted at ${host[role]}`);
    expect(await under(host, role)).toBe("");
    await mount(host, role);
    expect(missingFrom(await files(host, host.target), before)).toBe(0);
    await mirrors(host);
    await identical(host);
    await row({
      injected: `The ${role} volume unmounted while lsyncd is stopped; lsyncd started by systemctl, and by hand as documented`,
      happened: `systemctl start returned after ${start.seconds.toFixed(1)} s and lsyncd waited; by hand it refused`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("another disk", () => {
  it.each(roles)("in place of the %s is not mirrored", async (role) => {
    const { host } = d;
    const own = host.volumes[role];
    const other = await newDisk(host, 64);
    const kept = await content(host, host.target);
    await eventually(async () => (await attempt(host, `umount ${host[role]}`)).code === 0, 20);
    await on(host, `mount ${other.device} ${host[role]} && echo other >${host[role]}/other`);
    await stopped(host);
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect(await on(host, `ls -A ${host[role]}`)).toBe("lost+found\nother");
    expect(await attempt(host, "/usr/local/lib/lsyncd-as-code/lsyncd-guard")).toMatchObject({
      code: 1,
      output: `lsyncd-guard: another volume is mounted at ${host[role]}: UUID=${other.uuid} instead of the ${role} volume UUID=${own.uuid}\n`,
    });
    await umount(host, role);
    await mount(host, role);
    if (role === "source") expect(await content(host, host.target)).toBe(kept);
    await mirrors(host);
    await identical(host);
    await row({
      injected: `Another disk (another UUID) mounted in place of the ${role}`,
      happened: "lsyncd ended and waited; neither disk was touched",
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("a read-only remount", () => {
  it.each(roles)("of the %s loses nothing, and the mirror recovers", async (role) => {
    const { host } = d;
    await remount(host, role, "ro");
    if (role === "target") {
      await on(host, `echo while read-only >${host.source}/mail/readonly; rm ${host.source}/mail/b/4.eml`);
      await stopped(host);
    }
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await remount(host, role, "rw");
    const after = await mirrors(host);
    await identical(host);
    await row({
      injected: `The ${role} volume remounted read-only, and writable again later`,
      happened: `mirrored again ${after} s later`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("something mounted inside the target", () => {
  it("is not changed", async () => {
    const { host } = d;
    await on(host, `mkdir -p /srv/other && echo precious >/srv/other/data && mkdir ${host.source}/inner`);
    await identical(host);
    await eventually(async () => (await on(host, `ls -d ${host.target}/inner`)) !== "");
    await on(host, `mount --bind /srv/other ${host.target}/inner`);
    await stopped(host);
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await on(host, "cat /srv/other/data")).toBe("precious");
    await on(host, `umount ${host.target}/inner`);
    await mirrors(host);
    await identical(host);
    await row({
      injected: "Another directory mounted inside the target",
      happened: "lsyncd ended and waited; the mounted directory was not touched",
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});
