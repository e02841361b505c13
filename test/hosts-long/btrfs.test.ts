import { newDisk, type Disk } from "../../tools/sandbox";
import { content, eventually, failed, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, row, stopped } from "../support/faults";

jest.setTimeout(400_000);

// Volumes on btrfs: their identity includes a subvolume, and they do not report how many files they hold.

let d: Deployment;
let primary: Disk;

/** A disk with btrfs on it, and a subvolume in that. */
async function btrfs(): Promise<Disk> {
  const disk = await newDisk(d.host, 300);
  await on(
    d.host,
    `mkfs.btrfs -q -f ${disk.device} && mkdir -p /mnt/whole && mount -t btrfs ${disk.device} /mnt/whole &&
     btrfs -q subvolume create '/mnt/whole/@the data' && umount /mnt/whole`,
  );
  return { ...disk, uuid: await on(d.host, `blkid -p -s UUID -o value ${disk.device}`) };
}

const mountData = (disk: Disk, path: string, options = "") =>
  on(d.host, `mount -t btrfs -o 'subvol=@the data${options}' ${disk.device} ${path}`);

const lost = async () => missingFrom(await files(d.host, d.host.target), await files(d.host, d.host.source));

beforeAll(async () => {
  d = await prepare("btrfs");
  const { host } = d;
  await on(host, "DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends btrfs-progs");
  await on(host, `umount ${host.source} ${host.target}`);
  primary = await btrfs();
  await mountData(primary, host.source);
  const mirror = await btrfs();
  await on(host, `mount -t btrfs ${mirror.device} ${host.target}`);
});
afterAll(async () => {
  await d.remove();
});

describe("the preflight", () => {
  it("refuses two subvolumes of one file system", async () => {
    const { host } = d;
    await on(host, `mkdir -p /mnt/same && mount -t btrfs ${primary.device} /mnt/same`);
    expect(failed(await d.stack.preview([], { LSYNCD_TARGET: "/mnt/same" }))).toContain("are on the same file system");
    await on(host, "umount /mnt/same");
  });

  it("refuses a target that is read-only by a property of its subvolume", async () => {
    const { host } = d;
    await on(host, `btrfs property set ${host.target} ro true`);
    expect(failed(await d.stack.preview())).toContain(`The target ${host.target} is mounted read-only.`);
    await on(host, `btrfs property set ${host.target} ro false`);
  });

  it("refuses data in the target", async () => {
    const { host } = d;
    await on(host, `echo precious >"${host.target}/@the data/file"`);
    expect(failed(await d.stack.preview())).toContain("holds data");
    await on(host, `rm "${host.target}/@the data/file"; btrfs -q subvolume delete "${host.target}/@the data"`);
  });
});

describe("the mirror", () => {
  it("is deployed, and records the subvolume", async () => {
    const { host } = d;
    await fill(host, 150);
    await on(host, `btrfs -q subvolume create ${host.source}/inner && echo nested >${host.source}/inner/file`);
    succeeded(await d.stack.up());
    await identical(host);
    await mirrors(host);
    expect(await on(host, "cat /var/lib/lsyncd-as-code/volumes")).toContain(`source\tUUID=${primary.uuid}/@the data\n`);
    expect(await on(host, "lsyncd-monitor.sh || true")).toMatch(/^ok +disk +the target is \d+ % full/m);
    expect(succeeded(await d.stack.up([]))).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  });

  it("stops when the volume is unmounted, and mirrors again once it is back", async () => {
    const { host } = d;
    const before = await content(host, host.target);
    await eventually(async () => (await attempt(host, `umount ${host.source}`)).code === 0, 20);
    const ended = await stopped(host);
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await content(host, host.target)).toBe(before);
    await mountData(primary, host.source);
    const after = await mirrors(host);
    await identical(host);
    await row({
      injected: "btrfs: the source unmounted while lsyncd runs; mounted again",
      happened: `lsyncd ended within ${ended} s; mirrored again ${after} s after the mount`,
      lost: await lost(),
    });
  });

  it("does not use another subvolume of the same disk", async () => {
    const { host } = d;
    const before = await content(host, host.target);
    await eventually(async () => (await attempt(host, `umount ${host.source}`)).code === 0, 20);
    await on(host, `mount -t btrfs ${primary.device} ${host.source}`);
    await stopped(host);
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    expect(await stopped(host, 1)).toBeLessThan(1);
    expect(await content(host, host.target)).toBe(before);
    expect((await attempt(host, "/usr/local/lib/lsyncd-as-code/lsyncd-guard")).output).toContain(
      `UUID=${primary.uuid} instead of the source volume UUID=${primary.uuid}/@the data`,
    );
    await on(host, `umount ${host.source}`);
    await mountData(primary, host.source);
    await mirrors(host);
    await identical(host);
    await row({
      injected: "btrfs: another subvolume of the same disk mounted in place of the source",
      happened: "lsyncd ended and waited; the mirror was not touched",
      lost: await lost(),
    });
  });

  it("recovers after the target was full", async () => {
    const { host } = d;
    await on(
      host,
      `head -c 120000000 /dev/urandom >${host.target}/.filler && head -c 200000000 /dev/urandom >${host.source}/big`,
    );
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    await on(host, `rm ${host.source}/big; rm -f ${host.target}/.filler`);
    await mirrors(host, 120);
    await identical(host, 120);
    await row({
      injected: "btrfs: a file larger than the target's free space, removed later",
      happened: "lsyncd went on mirroring",
      lost: await lost(),
    });
  });

  it("is held when the source is emptied, although btrfs does not report the number of files", async () => {
    const { host } = d;
    const before = (await files(host, host.target)).size;
    await on(host, `rm -rf ${host.source}/mail`);
    await eventually(async () => (await attempt(host, "test -e /var/lib/lsyncd-as-code/held")).code === 0);
    expect((await files(host, host.target)).size).toBe(before);
    await on(host, "lsyncd-release");
    await mirrors(host);
    await identical(host);
    await row({
      injected: "btrfs: most of the source deleted",
      happened: "the mirror was held until it was released",
      lost: await lost(),
    });
  });
});

describe("a replaced disk", () => {
  it("is accepted by the command in the refusal, including the subvolume", async () => {
    const { host } = d;
    const disk = await btrfs();
    await on(host, "systemctl stop lsyncd");
    await on(
      host,
      `mkdir -p /mnt/new && mount -t btrfs -o 'subvol=@the data' ${disk.device} /mnt/new && cp -a ${host.source}/. /mnt/new/ && umount /mnt/new ${host.source}`,
    );
    await mountData(disk, host.source);
    await on(host, "systemctl start lsyncd");
    await d.configure({ delay: 2 });
    const refusal = failed(await d.stack.up());
    const [, line] = /lsyncd:acceptVolumes: (\[.*\])/.exec(refusal) ?? [];
    expect(line).toBe(`["${disk.uuid}/@the data"]`);
    await d.configure({ delay: 2, acceptVolumes: JSON.parse(line ?? "") as string[] });
    succeeded(await d.stack.up());
    await mirrors(host);
    await identical(host);
    await row({
      injected: "btrfs: the primary replaced by another disk, with the same data in a subvolume of the same name",
      happened: "refused until it was accepted; then mirrored",
      lost: await lost(),
    });
  });
});
