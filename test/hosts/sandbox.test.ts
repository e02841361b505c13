import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "../../toolchain/run";
import {
  boot,
  enter,
  execOn,
  isRunning,
  isVolumeMounted,
  kill,
  listSandboxes,
  mount,
  newDisk,
  pathOf,
  powerCut,
  powerOff,
  reboot,
  remount,
  reset,
  sandboxDown,
  sandboxesDownOf,
  sandboxUp,
  setAtBoot,
  setVolumes,
  umount,
  until,
  type Sandbox,
  type SandboxHost,
} from "../../tools/sandbox";

jest.setTimeout(300_000);

const root = resolve(__dirname, "../..");
const name = `t${process.pid}-sandbox`;
const children: ChildProcess[] = [];
let sandbox: Sandbox;
let first: SandboxHost;
let second: SandboxHost;

beforeAll(async () => {
  sandbox = await sandboxUp({ name, hosts: 2, owner: process.pid, volumeSizeMb: 64 });
  [first, second] = sandbox.hosts as [SandboxHost, SandboxHost];
});

afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await sandboxesDownOf();
});

/** The traces of a sandbox on this machine: loop devices, mounts, control groups, addresses, processes, files. */
async function tracesOf(dir: string, machines: string[]): Promise<string[]> {
  const loops = (await run("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-FILE"])).stdout;
  const groups = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
  const machineFolders = [
    ...groups.map((group) => join(group, "lsyncd-sandbox")),
    "/run/systemd/nspawn/propagate",
    "/run/systemd/nspawn/unix-export",
  ].filter(existsSync);
  const addresses = "/run/lsyncd-sandbox/addresses";
  const owners = existsSync(addresses)
    ? readdirSync(addresses).map((address) => readFileSync(join(addresses, address, "owner"), "utf8"))
    : [];
  const commands = (await run("ps", ["-eo", "args"])).stdout;
  const lines = [loops, readFileSync("/proc/mounts", "utf8"), commands, ...owners].flatMap((text) => text.split("\n"));
  return [
    ...lines.filter((line) => line.includes(`${dir}/`)),
    ...machineFolders.flatMap((folder) => readdirSync(folder)).filter((entry) => machines.includes(entry)),
    ...(existsSync(dir) ? [dir] : []),
  ];
}

const cli = (...args: string[]): [string, string[]] => [
  process.execPath,
  ["--import", "tsx", join(root, "tools/sandbox/main.ts"), ...args],
];

const machinesOf = (hosts: SandboxHost[]): string[] => hosts.map((host) => host.machine);
const uuidOf = async (host: SandboxHost, path: string): Promise<string> =>
  (await execOn(host, ["findmnt", "--noheadings", "--output", "UUID", path])).stdout.trim();

describe("a host is a real Debian machine", () => {
  test("runs systemd, without failed units", async () => {
    for (const host of sandbox.hosts) {
      expect((await execOn(host, "systemctl is-system-running")).stdout).toBe("running\n");
      expect((await execOn(host, "hostname; ps -p 1 -o comm=")).stdout).toBe(`${host.name}\nsystemd\n`);
      expect((await execOn(host, ". /etc/os-release; echo $VERSION_ID")).stdout).toBe("12\n");
    }
  });

  test("has its own key, address, high port and processes", async () => {
    expect(new Set(sandbox.hosts.map((host) => host.hostKey)).size).toBe(2);
    expect(new Set(sandbox.hosts.map((host) => host.address)).size).toBe(2);
    for (const host of sandbox.hosts) expect(host.port).toBeGreaterThanOrEqual(1024);
    await execOn(first, "systemd-run --unit=only-here sleep 1000");
    expect((await execOn(second, "pgrep -x sleep", { allowFailure: true })).code).toBe(1);
    await execOn(first, "systemctl stop only-here");
  });

  test("is not contacted if it presents another host's key", async () => {
    const impostor = { ...first, address: second.address, port: second.port, knownHostsPath: "/dev/null" };
    const refused = await execOn(impostor, "true", { allowFailure: true });
    expect(refused.code).toBe(255);
    expect(refused.stderr).toContain("Host key verification failed");
  });

  test("can install lsyncd with apt, although the image lacks it, on both hosts at once and without a mirror", async () => {
    await Promise.all(
      sandbox.hosts.map(async (host) => {
        expect((await execOn(host, "command -v lsyncd msmtp", { allowFailure: true })).stdout).toBe("");
        await execOn(host, "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-download lsyncd");
        expect((await execOn(host, "lsyncd --version")).stdout).toContain("2.2.3");
      }),
    );
    await execOn(first, "apt-get update -q");
  });

  test("gives sudo to an operator who is not root", async () => {
    expect((await execOn(first, "id -un; sudo -n id -un", { user: "admin" })).stdout).toBe("admin\nroot\n");
  });

  test("passes input and arguments to a command, and returns its exit code", async () => {
    expect((await execOn(first, "cat", { input: "one\ntwo" })).stdout).toBe("one\ntwo");
    expect((await execOn(first, ["printf", "%s|", "it's", "a $b", ""])).stdout).toBe("it's|a $b||");
    expect((await execOn(first, "exit 7", { allowFailure: true })).code).toBe(7);
    await expect(execOn(first, "echo why >&2; exit 7")).rejects.toThrow(/sqlite-1: exit code 7[^]*why/);
    await expect(execOn(first, "sleep 60", { timeoutMs: 1000 })).rejects.toThrow("not done after 1 s");
  });
});

describe("the volumes", () => {
  test("are mounted ext4 file systems whose UUID the host can read", async () => {
    for (const which of ["source", "target"] as const) {
      const { device, uuid, mountpoint } = second.volumes[which];
      expect(await uuidOf(second, mountpoint)).toBe(uuid);
      expect((await execOn(second, ["blkid", "-o", "value", "-s", "UUID", device])).stdout.trim()).toBe(uuid);
      expect((await execOn(second, ["readlink", "-f", `/dev/disk/by-uuid/${uuid}`])).stdout.trim()).toBe(device);
    }
  });

  test("can be unmounted and mounted by an operator, by fstab and by device", async () => {
    const { source, volumes } = second;
    await execOn(second, `umount ${source} && ! mountpoint -q ${source}`);
    await execOn(second, `mount ${source} && umount ${source}`);
    await execOn(second, `mount ${volumes.source.device} ${source} && mountpoint -q ${source}`);
    await execOn(second, `umount ${source} && systemctl start mnt-storage_do_1.mount && mountpoint -q ${source}`);
  });

  test("can be unmounted and mounted by a test, without a connection", async () => {
    await umount(second, "target");
    expect(await isVolumeMounted(second, "target")).toBe(false);
    await mount(second, "target");
    expect(await isVolumeMounted(second, "target")).toBe(true);
    await remount(second, "target", "ro");
    const refused = await execOn(second, `touch ${second.target}/file`, { allowFailure: true });
    expect(refused.stderr).toContain("Read-only file system");
    await remount(second, "target", "rw");
    await execOn(second, `touch ${second.target}/file`);
    expect(existsSync(pathOf(second, `${second.target}/file`))).toBe(true);
  });

  test("can be replaced by another disk, and exchanged", async () => {
    const [source, target] = [second.volumes.source.uuid, second.volumes.target.uuid];
    const disk = await newDisk(second, 32);
    await setVolumes(second, { source: disk });
    expect(await uuidOf(second, second.source)).toBe(disk.uuid);
    expect(disk.uuid).not.toBe(source);
    await setVolumes(second, { source: second.volumes.target, target: second.volumes.source });
    expect(await uuidOf(second, second.source)).toBe(target);
    await reboot(second);
    expect([await uuidOf(second, second.source), await uuidOf(second, second.target)]).toEqual([target, disk.uuid]);
  });

  test("are missing at boot while locked, and can be mounted later", async () => {
    await setAtBoot(second, "source", "locked");
    await reboot(second);
    expect(await isVolumeMounted(second, "source")).toBe(false);
    expect((await execOn(second, ["ls", second.volumes.source.device], { allowFailure: true })).code).not.toBe(0);
    await mount(second, "source");
    expect(await uuidOf(second, second.source)).toBe(second.volumes.source.uuid);

    await setAtBoot(second, "source", "absent");
    await reboot(second);
    expect((await execOn(second, "cat /etc/fstab")).stdout).not.toContain(second.source);
    expect(await isVolumeMounted(second, "source")).toBe(false);
  });

  test("are empty on a recreated host, with the original fstab, address and key", async () => {
    await execOn(second, "touch /root/file");
    await reset(second, { volumeSizeMb: { source: 96, target: 48 } });
    expect((await execOn(second, `ls /root ${second.source} ${second.target}`)).stdout).not.toContain("file");
    const sizes = (await execOn(second, "lsblk -bno SIZE " + second.disks.map((disk) => disk.device).join(" "))).stdout;
    expect(sizes.trim().split(/\s+/)).toEqual([96, 48].map((size) => String(size * 1024 * 1024)));
    expect((await execOn(second, "systemctl is-system-running")).stdout).toBe("running\n");
    expect(listSandboxes().find((known) => known.name === name)?.hosts[1]).toEqual(second);
  });
});

describe("the power switch", () => {
  const write = (text: string): Promise<unknown> =>
    execOn(first, `echo ${text} | tee ${first.source}/${text} /root/${text}`);

  test("reboot: written data stays, and the volumes are mounted again", async () => {
    await write("rebooted");
    const bootId = (await execOn(first, "cat /proc/sys/kernel/random/boot_id")).stdout;
    await reboot(first);
    expect((await execOn(first, "cat /proc/sys/kernel/random/boot_id")).stdout).not.toBe(bootId);
    expect((await execOn(first, `cat ${first.source}/rebooted /root/rebooted`)).stdout).toBe("rebooted\nrebooted\n");
    expect(await uuidOf(first, first.target)).toBe(first.volumes.target.uuid);
  });

  test("shutdown: the same", async () => {
    await write("off");
    await powerOff(first);
    expect(isRunning(first)).toBe(false);
    await expect(enter(first, ["true"])).rejects.toThrow("sqlite-1 is off");
    expect(readFileSync(join(first.root, "root/off"), "utf8")).toBe("off\n");
    await boot(first);
    expect((await execOn(first, `cat ${first.source}/off`)).stdout).toBe("off\n");
  });

  test("kill: every process ends at once, and `up` boots the host again", async () => {
    await write("killed");
    await kill(first);
    expect(isRunning(first)).toBe(false);
    await sandboxUp({ name, hosts: 2, owner: process.pid });
    expect((await execOn(first, `cat ${first.source}/killed`)).stdout).toBe("killed\n");
  });

  test("power cut: only data that had not reached the disk is lost", async () => {
    await execOn(first, `echo safe >${first.source}/safe && sync && echo lost >${first.source}/lost`);
    await powerCut(first);
    await boot(first);
    expect((await execOn(first, `ls ${first.source}`)).stdout).toContain("safe");
    expect((await execOn(first, `ls ${first.source}`)).stdout).not.toContain("lost\n");
  });
});

describe("npm run sandbox", () => {
  test("lists hosts and runs a command on one", async () => {
    const [program, list] = cli("list");
    expect((await run(program, list)).stdout).toMatch(
      new RegExp(`${name} \\(Debian bookworm\\), keys in .*\n  sqlite-1 +running`),
    );
    const [, ssh] = cli("ssh", "--name", name, "sqlite-2", "hostname", "-s");
    expect((await run(program, ssh)).stdout).toBe("sqlite-2\n");
  });

  test("changes nothing when `up` finds a running sandbox", async () => {
    expect((await sandboxUp({ name, hosts: 1, owner: process.pid })).hosts).toEqual([first, second]);
    await expect(sandboxUp({ name, release: "trixie", owner: process.pid })).rejects.toThrow(
      "runs bookworm, not trixie",
    );
    await expect(sandboxUp({ name })).rejects.toThrow("belongs to the running process");
  });
});

describe("nothing is left behind", () => {
  // Another test run's `up` may have been first to see it, and be at it still.
  const gone = async (dir: string, machines: string[]): Promise<void> => {
    await until(
      "nothing is left",
      20_000,
      async () => (await tracesOf(dir, machines)).length === 0,
      async () => (await tracesOf(dir, machines)).join("\n"),
    );
  };

  test("by an `up` that was killed", async () => {
    const killed = `t${process.pid}-killed`;
    const dir = join(sandbox.dir, "..", killed);
    const [program, args] = cli("up", "--name", killed);
    const up = spawn(program, args, { stdio: "ignore" });
    children.push(up);
    await until("its host starts", 60_000, () => existsSync(join(dir, "hosts/sqlite-1/console.log")));
    up.kill("SIGKILL");
    expect(await tracesOf(dir, [])).not.toEqual([]);
    await sandboxUp({ name, hosts: 2, owner: process.pid });
    await gone(dir, []);
  });

  test("by a sandbox whose test run was killed", async () => {
    const owner = spawn("sleep", ["1000"]);
    children.push(owner);
    const orphan = await sandboxUp({ name: `t${process.pid}-orphan`, owner: owner.pid ?? 0, volumeSizeMb: 64 });
    expect(await tracesOf(orphan.dir, machinesOf(orphan.hosts))).not.toEqual([]);
    owner.kill("SIGKILL");
    await until("it is gone", 5_000, () => owner.signalCode !== null);
    await sandboxUp({ name, hosts: 2, owner: process.pid });
    await gone(orphan.dir, machinesOf(orphan.hosts));
  });

  test("by a sandbox that was removed", async () => {
    expect(await tracesOf(sandbox.dir, machinesOf(sandbox.hosts))).not.toEqual([]);
    await sandboxDown(name);
    expect(await tracesOf(sandbox.dir, machinesOf(sandbox.hosts))).toEqual([]);
    await sandboxDown(name);
  });
});
