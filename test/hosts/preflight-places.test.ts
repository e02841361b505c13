import { newDisk } from "../../tools/sandbox";
import { failed, listing, on, prepare, succeeded, systemPlaces, type Deployment } from "../support/deployment";

jest.setTimeout(400_000);

// Refusals of the preflight beyond the basic checks. Previews run the same script, so most tests use previews: that is
// quicker, and proves that previews refuse as well.

let d: Deployment;

beforeAll(async () => {
  d = await prepare("places", { volumeSizeMb: { source: 200, target: 64 } });
  await on(d.host, `echo mail >${d.host.source}/mail`);
});
afterAll(async () => {
  await d.remove();
});

/** The refusals of a preview that leaves the host unchanged. */
async function refused(env: Record<string, string> = {}): Promise<string> {
  const before = await listing(d.host, ...systemPlaces);
  const text = failed(await d.stack.preview([], env));
  expect(text).toContain(`Preflight refuses ${d.host.name}`);
  expect(await listing(d.host, ...systemPlaces)).toBe(before);
  return text;
}

it("refuses paths that lead elsewhere, all in one message each", async () => {
  const { host } = d;
  await on(host, `ln -s ${host.source} /mnt/link && ln -s ${host.source} /mnt/same && ln -s /etc /mnt/etc`);
  const same = await refused({ LSYNCD_SOURCE: host.source, LSYNCD_TARGET: "/mnt/same" });
  expect(same).toContain(`Source ${host.source} and target /mnt/same are the same directory, ${host.source}`);
  expect(same).toContain(`The target /mnt/same is reached through a symbolic link to ${host.source}.`);
  expect(await refused({ LSYNCD_SOURCE: "/mnt/etc" })).toContain(
    "The source /mnt/etc resolves to /etc, a system directory.",
  );
  await on(host, `mkdir -p ${host.source}/inside && ln -s ${host.source}/inside /mnt/into`);
  expect(await refused({ LSYNCD_TARGET: "/mnt/into" })).toContain(
    `The target /mnt/into (${host.source}/inside) is inside the source (${host.source}): the mirror would mirror itself.`,
  );
  expect(await refused({ LSYNCD_SOURCE: "/mnt/into", LSYNCD_TARGET: host.source })).toContain("is inside the target");
});

it("refuses bind mounts of the system or the source, and mounts inside a volume", async () => {
  const { host } = d;
  await on(host, "mkdir -p /mnt/bound && mount --bind /etc /mnt/bound");
  expect(await refused({ LSYNCD_TARGET: "/mnt/bound" })).toContain(
    "The target /mnt/bound is /etc of the system's own file system (a bind mount).",
  );
  await on(host, `umount /mnt/bound && mount --bind ${host.source}/inside /mnt/bound`);
  expect(await refused({ LSYNCD_TARGET: "/mnt/bound" })).toContain("are on the same file system");
  await on(host, `umount /mnt/bound && mkdir -p ${host.target}/sub && mount --bind ${host.source} ${host.target}/sub`);
  expect(await refused()).toContain(`${host.target}/sub is mounted inside the target ${host.target}.`);
  await on(host, `umount ${host.target}/sub && rmdir ${host.target}/sub`);
});

it("refuses a read-only volume, and one that is too small for the data", async () => {
  const { host } = d;
  await on(host, `head -c 100000000 /dev/zero >${host.source}/large && mount -o remount,ro ${host.target}`);
  const text = await refused();
  expect(text).toContain(`The target ${host.target} is mounted read-only.`);
  expect(text).toMatch(/The target \/mnt\/storage_do_2 is too small: its size is \d+M, the source uses \d+M\./);
  await on(host, `rm ${host.source}/large && mount -o remount,rw ${host.target}`);
});

it("refuses unencrypted volumes if encryption is required", async () => {
  expect(succeeded(await d.stack.preview())).toMatch(
    /The source volume \(\S+\) is not on dm-crypt: its data is not encrypted\./,
  );
  await d.configure({ requireEncryption: true });
  const text = await refused();
  expect(text).toMatch(/1\. The source volume \(\S+\) is not on dm-crypt.*\n.*2\. The target volume/);
  await d.configure();
});

it("refuses while the package manager is interrupted or busy", async () => {
  const { host } = d;
  await on(
    host,
    `cp /var/lib/dpkg/status /root/status.kept && cp /root/status.kept /tmp/s &&
     perl -0pi -e 's/(Package: iproute2\\nStatus: install ok )installed/$1half-configured/' /var/lib/dpkg/status && dpkg --audit | grep -q iproute2`,
  );
  expect(await refused()).toContain("the package manager was interrupted earlier. Fix it: dpkg --configure -a");
  await on(host, "mv /root/status.kept /var/lib/dpkg/status; rm /tmp/s");

  await on(
    host,
    `echo 'use Fcntl; open my $f, "+>>", "/var/lib/dpkg/lock-frontend" or die; my $l = pack "s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0; fcntl $f, F_SETLK, $l or die; sleep 600' >/tmp/holder.pl
     systemd-run --quiet --unit=holder perl /tmp/holder.pl; sleep 1; systemctl is-active holder`,
  );
  const held = await refused();
  expect(held).toMatch(/must be installed, but the package manager is in use by process \d+ \(.*perl.*\)/);
  await on(host, "systemctl stop holder");
  expect(succeeded(await d.stack.preview())).not.toContain("package manager");
});

it("refuses too few inotify watches that cannot be raised, and warns if they suffice", async () => {
  const { host } = d;
  // The limit belongs to the whole machine, and no host of these tests may set it: a file replaces the kernel's.
  const file = "/proc/sys/fs/inotify/max_user_watches";
  const limit = (watches: number) => on(host, `echo ${watches} >/run/watches`);
  await on(host, `mkdir -p ${host.source}/{a,b}/{c,d}`);
  await limit(5);
  await on(host, `mount --bind /run/watches ${file} && mount -o remount,bind,ro ${file}`);
  expect(await refused()).toContain(
    "The source has 5 directories or more, and fs.inotify.max_user_watches allows only 5 watches. It cannot be changed from here (a container?): raise it on the machine outside the container.",
  );
  await limit(50);
  expect(succeeded(await d.stack.preview())).toMatch(
    /fs\.inotify\.max_user_watches is 50 and cannot be raised from here.*It is enough for the current \d+ directories/,
  );
  await limit(600_000);
  expect(succeeded(await d.stack.preview())).not.toContain("max_user_watches");
  await on(host, `umount ${file} && rm -r ${host.source}/a ${host.source}/b`);
});

it("refuses a source and a target cloned from one disk", async () => {
  const { host } = d;
  const disk = await newDisk(host, 64);
  await on(
    host,
    `umount ${host.target} && tune2fs -f -U ${host.volumes.source.uuid} ${disk.device} 2>&1 && mount ${disk.device} ${host.target}`,
  );
  expect(await refused()).toContain("A cloned disk needs a new UUID.");
  await on(host, `umount ${host.target} && mount ${host.volumes.target.device} ${host.target}`);
});
