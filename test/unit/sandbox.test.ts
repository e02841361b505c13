import { readArguments, UsageError } from "../../tools/sandbox/arguments";
import { hierarchies } from "../../tools/sandbox/cgroup";
import { machineName } from "../../tools/sandbox/host";
import { nspawnArguments } from "../../tools/sandbox/nspawn";
import { cacheDir } from "../../tools/sandbox/paths";
import { administratorPath } from "../../toolchain/privilege";
import { quote, sshArgs } from "../../tools/sandbox/ssh";
import type { SandboxHost } from "../../tools/sandbox";
import { diskLinks, disksAtBoot, fstab } from "../../tools/sandbox/volumes";

const source = { image: "/c/source.img", device: "/dev/loop3", uuid: "aaaa" };
const target = { image: "/c/target.img", device: "/dev/loop4", uuid: "bbbb" };

const host: SandboxHost = {
  name: "sqlite-1",
  machine: "lsb-12345678-sqlite-1",
  sandbox: "sandbox",
  release: "bookworm",
  address: "127.65.4.3",
  port: 20022,
  user: "root",
  hostKey: "ssh-ed25519 AAAA",
  privateKeyPath: "/c d/id",
  knownHostsPath: "/c d/100%/known_hosts",
  dir: "/c",
  root: "/c/root",
  source: "/mnt/storage_do_1",
  target: "/mnt/storage_do_2",
  volumes: {
    source: { ...source, mountpoint: "/mnt/storage_do_1" },
    target: { ...target, mountpoint: "/mnt/storage_do_2" },
  },
  disks: [source, target],
  atBoot: { source: "auto", target: "auto" },
};

describe("npm run sandbox", () => {
  test.each([
    [[], { action: "help" }],
    [["--help"], { action: "help" }],
    [["up", "-h"], { action: "help" }],
    [["up"], { action: "up", name: "sandbox", hosts: 1 }],
    [
      ["up", "--hosts", "3", "--name=two", "--release", "trixie"],
      { action: "up", name: "two", hosts: 3, release: "trixie" },
    ],
    [["down"], { action: "down", name: "sandbox" }],
    [["down", "--all"], { action: "down all" }],
    [["list"], { action: "list" }],
    [["ssh", "sqlite-1"], { action: "ssh", name: "sandbox", host: "sqlite-1", command: [] }],
    [
      ["ssh", "--name", "two", "sqlite-1", "ls", "-la", "--help"],
      { action: "ssh", name: "two", host: "sqlite-1", command: ["ls", "-la", "--help"] },
    ],
    [["up", "--vm"], { action: "up vm", name: "vm", hosts: 1 }],
    [["up", "--vm", "--filesystem", "xfs"], { action: "up vm", name: "vm", hosts: 1, fileSystem: "xfs" }],
    [["reboot", "sqlite-1"], { action: "reboot", name: "sandbox", host: "sqlite-1" }],
    [["unlock", "sqlite-1"], { action: "unlock", name: "vm", host: "sqlite-1", volumes: ["source", "target"] }],
    [["lock", "sqlite-1", "2"], { action: "lock", name: "vm", host: "sqlite-1", volumes: ["target"] }],
    [["cut", "sqlite-1", "drop", "7"], { action: "cut", name: "vm", host: "sqlite-1", mode: "drop", seed: 7 }],
    [
      ["fail", "--name", "two", "sqlite-1", "target", "write"],
      { action: "fail", name: "two", host: "sqlite-1", volume: "target", failing: "write" },
    ],
    [["ssh", "sqlite-1", "--", "ls"], { action: "ssh", name: "sandbox", host: "sqlite-1", command: ["ls"] }],
  ])("%j", (argv, parsed) => {
    expect(readArguments(argv)).toEqual(parsed);
  });

  test.each([
    [["start"], 'unknown action "start"; the actions are up, down, list, ssh'],
    [["up", "--filesystem", "xfs"], "add --vm"],
    [["up", "--vm", "--filesystem", "ntfs"], "ext4, xfs, btrfs"],
    [["unlock", "sqlite-1", "3"], "1 (the source) or 2 (the target)"],
    [["cut", "sqlite-1", "some"], "drop, keep, random"],
    [["cut", "sqlite-1", "drop", "x"], "the seed must be a number"],
    [["fail", "sqlite-1", "source"], "read, write or none"],
    [["reboot"], "name of a host"],
    [["up", "--hosts", "none"], 'not "none"'],
    [["up", "--hosts", "0"], 'not "0"'],
    [["up", "--release", "sid"], "bookworm or trixie"],
    [["up", "two"], 'takes no "two"'],
    [["up", "--all"], "up has no option --all"],
    [["down", "--all", "--name", "two"], "not both"],
    [["down", "--force"], "--force"],
    [["ssh"], "name of a host"],
  ])("%j is refused", (argv, message) => {
    expect(() => readArguments(argv)).toThrow(UsageError);
    expect(() => readArguments(argv)).toThrow(message);
  });
});

describe("the pieces of a host", () => {
  test("fstab names both volumes by UUID, and lets the host boot without them", () => {
    expect(fstab(host)).toBe(
      "UUID=aaaa /mnt/storage_do_1 ext4 defaults,nofail 0 2\nUUID=bbbb /mnt/storage_do_2 ext4 defaults,nofail 0 2\n",
    );
  });

  test("fstab can leave a volume unmounted at boot", () => {
    expect(fstab({ ...host, atBoot: { source: "noauto", target: "absent" } })).toBe(
      "UUID=aaaa /mnt/storage_do_1 ext4 defaults,nofail,noauto 0 2\n",
    );
  });

  test("a locked volume is in fstab, and its disk is missing at boot", () => {
    const locked: SandboxHost = { ...host, atBoot: { source: "locked", target: "auto" } };
    expect(fstab(locked)).toBe(fstab(host));
    expect(disksAtBoot(locked)).toEqual([target]);
    expect(nspawnArguments(locked)).not.toContain("--bind=/dev/loop3");
  });

  test("disks have the links that udev would create", () => {
    expect(diskLinks([source])).toBe("L+ /dev/disk/by-uuid/aaaa - - - - ../../loop3\n");
  });

  test("the disks have the machine's own names", () => {
    expect(nspawnArguments(host)).toEqual(
      expect.arrayContaining(["--directory=/c/root", "--hostname=sqlite-1", "--bind=/dev/loop3", "--bind=/dev/loop4"]),
    );
  });

  test("ssh uses the sandbox's own keys at any path, and nothing of the user's", () => {
    const args = sshArgs(host);
    expect(args.slice(0, 3)).toEqual(["ssh", "-F", "none"]);
    expect(args).toEqual(
      expect.arrayContaining([
        'IdentityFile="/c d/id"',
        'UserKnownHostsFile="/c d/100%%/known_hosts"',
        "IdentityAgent=none",
        "StrictHostKeyChecking=yes",
      ]),
    );
    expect(args.at(-1)).toBe("root@127.65.4.3");
    expect(sshArgs(host, "admin").at(-1)).toBe("admin@127.65.4.3");
    expect(args.join(" ")).not.toContain("Control");
  });

  test("the shell commands of a host share a connection where it has a socket for that, each user one", () => {
    const shared = { ...host, sharedConnection: "/c d/100%/ssh" };
    expect(sshArgs(shared)).toContain('ControlPath="/c d/100%%/ssh"-root');
    expect(sshArgs(shared, "admin")).toContain('ControlPath="/c d/100%%/ssh"-admin');
  });

  test("words are quoted for a shell", () => {
    expect(quote("it's $HOME")).toBe(`'it'\\''s $HOME'`);
  });

  test("hosts of the same name in two sandboxes are different machines with valid systemd names", () => {
    const one = machineName("/a/hosts/sqlite-1");
    expect(one).toMatch(/^lsb-[0-9a-f]{8}-sqlite-1$/);
    expect(machineName("/b/hosts/sqlite-1")).not.toBe(one);
    expect(machineName(`/a/${"h".repeat(80)}`)).toHaveLength(64);
  });
});

describe("this machine", () => {
  test.each([
    ["cgroup v2", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", ["/sys/fs/cgroup"]],
    [
      "v1 with v2 beside it",
      "cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0",
      ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"],
    ],
    [
      "v1 alone",
      "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0",
      ["/sys/fs/cgroup/systemd"],
    ],
  ])("%s", (_what, mounts, expected) => {
    expect(hierarchies(mounts)).toEqual(expected);
  });

  test("without control groups, the error says what to do", () => {
    expect(() => hierarchies("proc /proc proc rw 0 0")).toThrow("mount -t cgroup2");
  });

  test("the cache is in XDG_CACHE_HOME, unless that is relative", () => {
    expect(cacheDir({ XDG_CACHE_HOME: "/x" })).toBe("/x/lsyncd-as-code");
    expect(cacheDir({ XDG_CACHE_HOME: "x" })).toMatch(/\/\.cache\/lsyncd-as-code$/);
    expect(cacheDir({})).toMatch(/\/\.cache\/lsyncd-as-code$/);
  });

  test("administration programs are found although they are not on a user's PATH", () => {
    expect(administratorPath("/opt/bin:/usr/bin")).toBe(
      "/opt/bin:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/bin",
    );
  });
});
