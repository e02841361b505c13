import { failed } from "../support/deployment";
import { prepareVm, testMs, type VmDeployment } from "../support/vm";

// File systems that a container does not have: ext4 that folds case, mounts on demand, overlays.

jest.setTimeout(testMs);

const target = "/mnt/storage_do_2";
let d: VmDeployment;

beforeAll(async () => {
  d = await prepareVm();
});
afterAll(async () => {
  await d.remove();
});

/** Makes a file system in a file of the root disk, at /srv/try. */
const tried = (make: string, options = "loop"): Promise<string> =>
  d.on(
    `rm -f /srv/try.img; truncate -s 400M /srv/try.img && ${make} /srv/try.img && mkdir -p /srv/try && mount -o ${options} /srv/try.img /srv/try`,
  );
const untried = (): Promise<string> => d.on("umount /srv/try; rm -f /srv/try.img");

/** The text of a preview that refuses the host. */
const refused = async (env: Record<string, string>): Promise<string> => {
  await d.stack.configure([d.host], {});
  const text = failed(await d.stack.preview([], env));
  expect(text).toContain(`Preflight refuses ${d.host.name}`);
  return text;
};

describe("the preflight refuses", () => {
  it("an ext4 in which two names that differ by case are one", async () => {
    await tried("mkfs.ext4 -q -O casefold");
    expect(
      await d.on("mkdir /srv/try/c && chattr +F /srv/try/c && echo 1 >/srv/try/c/Name && cat /srv/try/c/name"),
    ).toBe("1");
    await d.on("rm -r /srv/try/c");
    expect(await refused({ LSYNCD_TARGET: "/srv/try" })).toContain("differ only in case as equal (ext4 with casefold)");
    expect(await refused({ LSYNCD_SOURCE: "/srv/try" })).toContain("differ only in case as equal (ext4 with casefold)");
    await untried();
  });

  it("a volume that is mounted on demand", async () => {
    await d.on(
      `cp /etc/fstab /etc/fstab.kept; sed -i 's|^\\(/dev/mapper/nvme2n1 .*\\)noauto|\\1noauto,x-systemd.automount|' /etc/fstab
       umount ${target}; systemctl daemon-reload; systemctl start mnt-storage_do_2.automount; ls ${target} >/dev/null; findmnt -n -o FSTYPE ${target}`,
    );
    expect(await refused({})).toMatch(/The target \/mnt\/storage_do_2 is mounted on demand \(x-systemd\.automount/);
    await d.on(
      `mv /etc/fstab.kept /etc/fstab; systemctl stop mnt-storage_do_2.automount; systemctl daemon-reload; mountpoint -q ${target} || mount ${target}`,
    );
  });

  it("a source on an overlay", async () => {
    await d.on(
      "mkdir -p /srv/low /srv/up/u /srv/up/w /srv/over && mount -t overlay overlay -o lowerdir=/srv/low,upperdir=/srv/up/u,workdir=/srv/up/w /srv/over && echo x >/srv/over/file",
    );
    expect(await refused({ LSYNCD_SOURCE: "/srv/over" })).toContain("is a layered file system (overlay)");
    await d.on("umount /srv/over; rm -r /srv/low /srv/up /srv/over");
  });
});
