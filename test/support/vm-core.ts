import { cutPower } from "../../tools/sandbox/vm/process";
import type { Release } from "../../tools/sandbox";
import { failed } from "./deployment";
import { row } from "./faults";
import { prepareVm, testMs, type VmDeployment } from "./vm";

// A kernel of its own and LUKS volumes, which a container cannot have: a deployment from its beginning, and what an operator does.

/** Steps 1 to 8 of the README on a virtual machine, and the commands of an operator. */
export function testOnVm({ release }: { release: Release }): void {
  jest.setTimeout(testMs);

  let d: VmDeployment;
  beforeAll(async () => {
    d = await prepareVm({ release });
    await d.on('cd /mnt/storage_do_1 && mkdir -p mail && for i in $(seq 30); do echo "mail $i" >mail/$i; done');
  });
  afterAll(async () => {
    await d.remove();
  });

  const held = async (): Promise<boolean> => (await d.attempt("test -e /var/lib/lsyncd-as-code/held")).code === 0;

  it("a volume without LUKS is refused", async () => {
    await d.on(
      "mkdir -p /srv/plain && truncate -s 100M /srv/plain.img && mkfs.ext4 -q /srv/plain.img && mount /srv/plain.img /srv/plain",
    );
    await d.stack.configure([d.host], { requireEncryption: true, target: "/srv/plain" });
    expect(failed(await d.stack.up())).toContain("not on dm-crypt");
    await d.on("umount /srv/plain && rm -r /srv/plain /srv/plain.img");
  });

  it("volumes on LUKS are mirrored", async () => {
    expect(await d.on("findmnt -no SOURCE /mnt/storage_do_1; findmnt -no SOURCE /mnt/storage_do_2")).toBe(
      "/dev/mapper/nvme1n1\n/dev/mapper/nvme2n1",
    );
    const began = Date.now();
    await d.deploy({ keepDeletedDays: 1 });
    const minutes = Math.ceil((Date.now() - began) / 60_000);
    await d.identical();
    expect(await d.on("systemctl show -p StatusText --value lsyncd")).toBe("mirroring");
    await d.on("echo new >/mnt/storage_do_1/new");
    await d.identical();
    await row({
      injected: `Debian ${release}, kernel ${await d.on("uname -r")}, both volumes ext4 on LUKS2: a first deployment with requireEncryption`,
      happened: `took ${String(minutes)} minutes on an emulated machine; what was written arrived in the mirror`,
      lost: 0,
    });
  });

  it("status and verification report a healthy mirror", async () => {
    // The monitor has run at least once by then.
    await d.on("systemctl start lsyncd-monitor.service");
    const status = await d.cli("status", "--json", "--timeout", "180");
    expect(JSON.parse(status.stdout)).toMatchObject([{ host: "sqlite-1" }]);
    const verified = await d.cli("verify", "--checksum", "--full");
    expect([verified.code, verified.stdout]).toEqual([0, expect.stringContaining("sqlite-1")]);
  });

  it("a failover keeps the mirror, and its end copies the mirror back", async () => {
    await d.on("lsyncd-failover begin trying it");
    await d.on("echo written in failover >/mnt/storage_do_2/mail/1; echo old >/mnt/storage_do_1/mail/2");
    await d.on("systemctl start lsyncd || true");
    expect(await d.on("cat /mnt/storage_do_2/mail/1 /mnt/storage_do_2/mail/2")).toBe("written in failover\nmail 2");
    await d.on("lsyncd-failover end --keep target");
    expect(await d.on("cat /mnt/storage_do_1/mail/1 /mnt/storage_do_1/mail/2")).toBe("written in failover\nmail 2");
    await d.identical();
  });

  it("a mass deletion is held until it is released, and a deleted file is restored", async () => {
    await d.on("rm -r /mnt/storage_do_1/mail");
    await d.until("the deletion is held", held);
    expect(await d.on("ls /mnt/storage_do_2/mail | wc -l")).toBe("30");
    await d.on("lsyncd-release");
    await d.identical();
    const [hour, , path] = (await d.on("lsyncd-undelete list mail/7")).split("\t");
    expect(path).toBe("mail/7");
    await d.on(`lsyncd-undelete restore '${String(hour)}' mail/7`);
    await d.identical();
    expect(await d.on("cat /mnt/storage_do_2/mail/7")).toBe("mail 7");
  });

  it("AppArmor and the units' filters of system calls refused nothing of that", async () => {
    expect(await d.on("cat /sys/module/apparmor/parameters/enabled")).toBe("Y");
    // The journal goes back to the boot.
    expect(await d.on("journalctl -b -k -o cat --no-pager | grep -c 'Linux version'")).toBe("1");
    expect(await d.on("journalctl -b --no-pager | grep -E 'apparmor=.DENIED|audit.*SECCOMP' || true")).toBe("");
  });

  it("a power cut loses only data that was not synced, and mirroring resumes by itself", async () => {
    await d.on("cd /mnt/storage_do_1 && echo kept >synced && sync && echo lost >unsynced");
    await cutPower(d.host, "drop", 1);
    await d.up();
    expect(await d.on("cd /mnt/storage_do_1 && ls | grep -v lost+found")).toBe("mail\nnew\nsynced");
    await d.identical();
    expect(await d.on("cat /mnt/storage_do_2/synced")).toBe("kept");
  });
}
