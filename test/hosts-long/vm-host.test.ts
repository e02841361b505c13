import { lock, rebootVm, unlock } from "../../tools/sandbox/vm/host";
import { failDisk, monitorCommand } from "../../tools/sandbox/vm/process";
import { row } from "../support/faults";
import { mailFile, mailSettings, prepareVm, startMailServer, testMs, type VmDeployment } from "../support/vm";

// A deployed host with a kernel of its own: failing volumes and disks, jumping time, enforced limits and confinement.

jest.setTimeout(testMs);

let d: VmDeployment;
let where = "";
beforeAll(async () => {
  d = await prepareVm();
  where = `kernel ${await d.on("uname -r")}, ext4 on LUKS`;
  await d.on("mkdir -p /mnt/storage_do_1/data && for i in $(seq 20); do echo $i >/mnt/storage_do_1/data/$i; done");
  await d.deploy(mailSettings);
  await d.identical();
  await startMailServer(d);
});
afterAll(async () => {
  await d.remove();
});

const shown = (): Promise<string> => d.on("systemctl show -p StatusText --value lsyncd");
const mirrored = (): Promise<string> => d.on("cd /mnt/storage_do_2/data && cat $(seq 20) | cksum");

it("the kernel enforces both services' limits", async () => {
  for (const unit of ["lsyncd.service", "lsyncd-monitor.service"]) {
    const exposure = /Overall exposure level for \S+ (\d+\.\d)/.exec(
      await d.on(`systemd-analyze security --no-pager ${unit}`),
    );
    expect([unit, Number(exposure?.[1])]).toEqual([unit, expect.any(Number)]);
    expect(Number(exposure?.[1])).toBeLessThan(4);
  }
  expect(await d.on("cat /sys/fs/cgroup/system.slice/lsyncd.service/memory.max")).toBe(String(1 << 30));
  expect(await d.on("cat /sys/module/apparmor/parameters/enabled")).toBe("Y");
  await d.on("systemctl start lsyncd-monitor.service");
  await d.mirrors();
  expect(await d.on("journalctl -b --no-pager | grep -E 'apparmor=.DENIED|audit.*SECCOMP' || true")).toBe("");
});

it("a copy larger than the unit's memory limit is not killed", async () => {
  await d.on("systemctl set-property --runtime lsyncd.service MemoryMax=128M");
  const before = await d.on("systemctl show -p NRestarts --value lsyncd");
  await d.on(
    "head -c 300M /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >/mnt/storage_do_1/large || head -c 300M /dev/urandom >/mnt/storage_do_1/large",
  );
  await d.identical();
  expect(await d.on("systemctl show -p NRestarts --value lsyncd")).toBe(before);
  await d.on("systemctl set-property --runtime lsyncd.service MemoryMax=1G; rm /mnt/storage_do_1/large");
  await d.identical();
  await row({
    injected: `A file of 300 MB copied with a memory limit of 128 MB in force (cgroup v2, ${where})`,
    happened: "it arrived, and nothing was killed or restarted",
    lost: 0,
  });
});

it("the unit's own memory limit does not slow down a copy that is larger than it", async () => {
  const seconds: number[] = [];
  for (const limit of ["infinity", String(1 << 30)]) {
    await d.on(
      `systemctl stop lsyncd; systemctl set-property --runtime lsyncd.service MemoryMax=${limit}
      head -c 1500M /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >/mnt/storage_do_1/large
      sync /mnt/storage_do_1/large; echo 3 >/proc/sys/vm/drop_caches`,
    );
    const began = Date.now();
    await d.on("systemctl start lsyncd");
    await d.on("lsyncd-wait --timeout 1800", { timeoutMs: testMs });
    seconds.push((Date.now() - began) / 1000);
    expect(await d.on("cat /sys/fs/cgroup/system.slice/lsyncd.service/memory.max")).toBe(
      limit === "infinity" ? "max" : limit,
    );
    expect(await d.on("systemctl show -p NRestarts --value lsyncd")).toBe("0");
    await d.on("cmp /mnt/storage_do_1/large /mnt/storage_do_2/large && rm /mnt/storage_do_1/large");
    await d.identical();
  }
  const [without = 0, limited = 0] = seconds;
  await row({
    injected: `A file of 1.5 GB copied with the unit's memory limit of 1 GB in force (cgroup v2, ${where})`,
    happened: `nothing was killed or restarted; it took ${(limited / without).toFixed(2)} times as long as without the limit`,
    lost: 0,
  });
});

it("an lsyncd that leaks memory is restarted, which is reported, and mirrors again", async () => {
  await d.on(`rm -f ${mailFile}`);
  await d.on("systemctl set-property --runtime lsyncd.service MemoryMax=128M");
  const leak = "python3 -c 'x = [bytearray(1 << 20) for _ in range(400)]; import time; time.sleep(99)'";
  await d.attempt(
    `bash -c 'echo $$ >/sys/fs/cgroup/system.slice/lsyncd.service/cgroup.procs; exec ${leak.replaceAll("'", "'\\''")}'`,
  );
  await d.until("systemd notes it", async () =>
    (await d.on("journalctl -b -u lsyncd --no-pager")).includes("oom-kill"),
  );
  await d.on("systemctl set-property --runtime lsyncd.service MemoryMax=1G");
  await d.mirrors();
  await d.until("a mail reports it", async () => (await d.on(`cat ${mailFile} || true`)).includes("oom-kill"));
  await row({
    injected: `A process of lsyncd.service takes more than its memory limit (cgroup v2, ${where})`,
    happened: "the kernel killed it, systemd restarted the service, a mail reported it, and it mirrored again",
    lost: 0,
  });
});

it("systemctl status reports a lazily unmounted volume, and locked volumes, at once", async () => {
  const before = await mirrored();
  await d.on("umount -l /mnt/storage_do_1");
  await d.until("it says so", async () => /not mirroring|^waiting: the source volume/.test(await shown()), 60);
  await d.until("it waits", async () => (await shown()).startsWith("waiting: the source volume is not mounted"));
  expect(await mirrored()).toBe(before);
  await d.until("it is closed", async () => (await d.attempt("cryptsetup close nvme1n1")).code === 0);
  await lock(d.host, "target");
  await d.until("both", async () => (await shown()).includes("the target volume is not mounted"));
  await unlock(d.host, "target");
  await d.until("one", async () => /^waiting: the source volume is not mounted at \S+ *$/.test(await shown()));
  expect(await mirrored()).toBe(before);
  await unlock(d.host, "source");
  await d.mirrors();
  await d.identical();
  expect(await shown()).toBe("mirroring");
  await row({
    injected: `The source unmounted lazily, both LUKS volumes closed, then opened one after the other (${where})`,
    happened: "systemctl status named what was missing each time; it mirrored again by itself once both were mounted",
    lost: 0,
  });
});

it.each([
  ["source", "target"],
  ["target", "source"],
] as const)("a boot with both volumes locked, the %s opened first and the %s later", async (first, second) => {
  const before = await mirrored();
  await rebootVm(d.host, () => undefined);
  await d.until("both are missing", async () =>
    /^waiting: .*source volume is not mounted.*target volume is not mounted/.test(await shown()),
  );
  await unlock(d.host, first);
  await d.until("one is missing", async () =>
    new RegExp(`^waiting: the ${second} volume is not mounted at \\S+ *$`).test(await shown()),
  );
  expect(await d.on("pgrep -x lsyncd || true")).toBe("");
  await unlock(d.host, second);
  expect(await mirrored()).toBe(before);
  await d.mirrors();
  await d.identical();
  expect(await shown()).toBe("mirroring");
  await row({
    injected: `Booted with both LUKS volumes locked; the ${first} opened and mounted, then the ${second} (${where})`,
    happened:
      "lsyncd did not run before both were there, and systemctl status named what was missing; then it mirrored by itself",
    lost: 0,
  });
});

it("cryptsetup close under load is refused, and no data is lost", async () => {
  expect((await d.attempt("cryptsetup close nvme2n1")).code).not.toBe(0);
  await d.mirrors();
});

it("a suspended machine, and a jumping clock, trigger no alert", async () => {
  await monitorCommand(d.host, "stop");
  await new Promise((resolve) => setTimeout(resolve, 30_000));
  await monitorCommand(d.host, "cont");
  await d.mirrors();
  for (const jump of ["2 hours ago", "2 days 2 hours"]) {
    await d.on(`date -s '${jump}' >/dev/null`);
    await d.mirrors();
    const text = await d.monitor();
    expect(text).not.toContain("no answer");
    expect(text).not.toMatch(/PROBLEM +(moving|service|volumes|monitor) /);
  }
  await d.on("date -s '2 days ago' >/dev/null");
  await d.identical();
  await row({
    injected: `The machine stopped for 30 s and resumed; its clock set back two hours, then forward two days (${where})`,
    happened: "it went on mirroring, and the monitor had nothing to report",
    lost: 0,
  });
});

it.each(["target", "source"] as const)(
  "I/O errors on the %s leave the mirror intact, are reported, and end after a repair",
  async (role) => {
    const before = await mirrored();
    const mountpoint = role === "source" ? "/mnt/storage_do_1" : "/mnt/storage_do_2";
    const mapper = role === "source" ? "nvme1n1" : "nvme2n1";
    await failDisk(d.host, role, "write");
    await d.attempt(`echo changed >/mnt/storage_do_1/during-${role}; sync`);
    await d.until(
      "the file system is read-only",
      async () => (await d.attempt(`echo x >${mountpoint}/x && sync ${mountpoint}/x`)).code !== 0,
    );
    await d.until("the monitor names it", async () => (await d.monitor()).includes(mountpoint), 300);
    expect(await mirrored()).toBe(before);
    await failDisk(d.host, role, "none");
    await d.until("it can be unmounted", async () => (await d.attempt(`umount ${mountpoint}`)).code === 0);
    await d.attempt(`fsck.ext4 -fy /dev/mapper/${mapper}`);
    await unlock(d.host, role);
    await d.mirrors();
    await d.identical();
    expect(await mirrored()).toBe(before);
    await row({
      injected: `The disk of the ${role} answers writes with I/O errors; repaired with fsck (${where})`,
      happened: "the mirror kept its files, the monitor named the volume, and it mirrored again by itself",
      lost: 0,
    });
  },
);
