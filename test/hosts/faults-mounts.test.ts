import { newDisk, setVolumes } from "../../tools/sandbox";
import { content, eventually, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, row, stopped } from "../support/faults";
import { lockedAtBoot, unmountedWhileRunning } from "../support/volume-faults";

jest.setTimeout(300_000);

// The worst effects of mounts on a mirror; faults-volumes has more.

let d: Deployment;

beforeAll(async () => {
  d = await prepare("mounts");
  await fill(d.host);
  succeeded(await d.stack.up());
  await identical(d.host);
});
afterAll(async () => {
  await d.remove();
});

describe("the source", () => {
  it("not mounted at boot: nothing is mirrored until it is, then lsyncd runs by itself", () =>
    lockedAtBoot(d, "source"));

  it("unmounted while lsyncd runs: lsyncd stops within seconds, and runs again once the volume is back", () =>
    unmountedWhileRunning(d, "source"));
});

describe("both disks", () => {
  it("exchanged: nothing is mirrored in the wrong direction", async () => {
    const { host } = d;
    const { source, target } = host.volumes;
    await on(host, "systemctl stop lsyncd");
    await on(host, `echo newer >${host.source}/only-in-source`);
    const expected = await content(host, host.source);
    await setVolumes(host, { source: target, target: source });
    await on(host, "systemctl start lsyncd");
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect(await content(host, host.target)).toBe(expected);
    await setVolumes(host, { source, target });
    await mirrors(host);
    await identical(host);
    await row({
      injected: "Source and target disks exchanged",
      happened: "lsyncd waited; it mirrored once they were back in their places",
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("the target's disk fails", () => {
  it("and its file system refuses writes: lsyncd waits, the alert names the volume and the disk, and it mirrors after a repair", async () => {
    const { host } = d;
    const { device, mountpoint } = host.volumes.target;
    const before = await content(host, host.target);
    await on(host, `mount -o remount,abort ${mountpoint}; echo meanwhile >${host.source}/mail/meanwhile`);
    const ended = await stopped(host, 30);
    const reason = `the target volume at ${mountpoint} cannot be written (Read-only file system): ${device} or its file system has failed`;
    await eventually(async () => (await on(host, "systemctl status lsyncd --no-pager || true")).includes(reason), 30);
    // One restart, not a loop.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    expect(Number(await on(host, "systemctl show -p NRestarts --value lsyncd"))).toBeLessThan(3);
    const { code, output } = await attempt(host, "/usr/local/bin/lsyncd-monitor.sh");
    expect(code).toBe(1);
    expect(output).toContain(`PROBLEM  volumes   ${reason}`);
    expect(await content(host, host.target)).toBe(before);
    await on(host, `umount ${mountpoint}; e2fsck -fy ${device} >/dev/null 2>&1; mount ${device} ${mountpoint}`);
    const after = await mirrors(host);
    await identical(host);
    expect((await attempt(host, "/usr/local/bin/lsyncd-monitor.sh")).output).toMatch(/^ok +disk/m);
    await row({
      injected: "The target's ext4 stops writing after an error, and the mount table still calls it writable",
      happened: `lsyncd ended within ${ended} s and waited, with an alert that names the disk; mirrored ${after} s after the repair`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});

describe("a disk mounted over the directory that both volumes are mounted in", () => {
  it("hides them: nothing in it is mirrored, and nothing is written to it", async () => {
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
      happened: `lsyncd ended within ${ended} s and waited; the disk was not touched`,
      lost: missingFrom(await files(host, host.target), await files(host, host.source)),
    });
  });
});
