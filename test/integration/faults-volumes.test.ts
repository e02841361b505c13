import { boot, mount, newDisk, powerOff, remount, setAtBoot, setVolumes, umount } from "../../tools/sandbox";
import { content, eventually, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, row, stopped, under } from "../support/faults";

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
  it.each(roles)("%s: nothing is mirrored until it is, then lsyncd runs by itself", async (role) => {
    const { host } = d;
    const before = await files(host, host.target);
    await powerOff(host);
    await setAtBoot(host, role, "locked");
    await boot(host);
    // Long enough for several tries.
    await new Promise((resolve) => setTimeout(resolve, 7_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect(await under(host, role)).toBe("");
    const start = await attempt(host, "systemctl start lsyncd");
    expect(start.code).toBe(0);
    expect(start.seconds).toBeLessThan(5);
    expect(await on(host, "systemctl status lsyncd --no-pager || true")).toContain(
      `waiting: the ${role} volume is not mounted at ${host[role]}`,
    );
    await mount(host, role);
    expect(missingFrom(await files(host, host.target), before)).toBe(0);
    const after = await mirrors(host);
    await identical(host);
    await setAtBoot(host, role, "auto");
    await row({
      injected: `Host booted with the ${role} volume locked; unlocked and mounted later`,
      happened: `lsyncd did not run before; it mirrored ${after} s after the mount`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("a volume that is unmounted while lsyncd runs", () => {
  it.each(roles)("%s: it stops within seconds, and runs again when the volume is back", async (role) => {
    const { host } = d;
    await on(host, `echo just before >${host.source}/mail/last; rm -f ${host.source}/mail/a/1.eml`);
    const before = await files(host, role === "source" ? host.target : host.source);
    await eventually(async () => (await attempt(host, `umount ${host[role]}`)).code === 0, 20);
    const ended = await stopped(host);
    expect(ended).toBeLessThan(8);
    expect(await under(host, role)).toBe("");
    // Nothing was deleted from the mirror that had been there; at most the last changes came through.
    if (role === "source") {
      const now = await files(host, host.target);
      before.delete("./mail/a/1.eml");
      expect(missingFrom(now, before)).toBe(0);
    } else await on(host, `echo meanwhile >${host.source}/mail/meanwhile; rm ${host.source}/mail/b/2.eml`);
    // Longer than the pause before a restart.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect(await under(host, role)).toBe("");
    await mount(host, role);
    const after = await mirrors(host);
    await identical(host);
    await row({
      injected: `The ${role} volume unmounted while lsyncd runs, right after changes; mounted again later`,
      happened: `lsyncd ended within ${ended} s; mirrored again ${after} s after the mount`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });

  it.each(roles)("%s: lazily, in the middle of a large copy", async (role) => {
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

  it("the two exchanged: nothing is mirrored the wrong way round", async () => {
    const { host } = d;
    const { source, target } = host.volumes;
    await on(host, "systemctl stop lsyncd");
    await on(host, `echo newer >${host.source}/only-in-source`);
    const wanted = await content(host, host.source);
    await setVolumes(host, { source: target, target: source });
    await on(host, "systemctl start lsyncd");
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect(await content(host, host.target)).toBe(wanted);
    await setVolumes(host, { source, target });
    await mirrors(host);
    await identical(host);
    await row({
      injected: "Source and target disks exchanged",
      happened: "lsyncd waited; mirrored when they were as deployed again",
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("a disk mounted over the directory that both volumes are mounted in", () => {
  it("hides them: nothing of it is mirrored and nothing written to it", async () => {
    const { host } = d;
    const other = await newDisk(host, 64);
    const before = await content(host, host.target);
    // An old copy of both, as on a backup disk that someone mounts at /mnt.
    await on(
      host,
      `mkdir -p /srv/backup && mount ${other.device} /srv/backup && mkdir /srv/backup/{storage_do_1,storage_do_2}
       echo old >/srv/backup/storage_do_1/old && echo old >/srv/backup/storage_do_2/kept && umount /srv/backup && mount ${other.device} /mnt`,
    );
    const ended = await stopped(host);
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect((await attempt(host, "/usr/local/lib/lsyncd-as-code/lsyncd-guard")).output).toBe(
      `lsyncd-guard: the source volume is not mounted at ${host.source}\nlsyncd-guard: the target volume is not mounted at ${host.target}\n`,
    );
    expect(await on(host, "cd /mnt && find . -type f | sort")).toBe("./storage_do_1/old\n./storage_do_2/kept");
    await on(host, "umount /mnt");
    expect(await content(host, host.target)).toBe(before);
    await mirrors(host);
    await identical(host);
    await row({
      injected: "Another disk mounted over /mnt, with old copies of both volumes' directories on it",
      happened: `lsyncd ended within ${ended} s and waited; the disk was left alone`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("a read-only remount", () => {
  it.each(roles)("of the %s loses nothing and heals", async (role) => {
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
  it("is not reached into", async () => {
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
      happened: "lsyncd ended and waited; what is mounted there was left alone",
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});
