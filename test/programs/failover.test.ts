import { spawn } from "node:child_process";
import { installTime, needPrograms } from "../support/programs";
import { PretendedVolumes } from "../support/failover";

// lsyncd-failover on two real file systems. Tests on hosts (operator) show that it keeps lsyncd stopped through boots and
// deployments; failover-killed kills it at every step.

let host: PretendedVolumes;
const everywhere = (state: string) => ({ root: state, source: state, target: state });

beforeAll(() => needPrograms("rsync", "python3", "strace"), installTime);
beforeEach(async () => {
  host = await PretendedVolumes.make();
  await host.shell(`echo old >source/a; echo same >source/b; cp -a source/. target/`);
});
afterEach(() => host.remove());

/** Begins a failover, and changes the mirror as an application does. */
async function inUse(): Promise<void> {
  expect((await host.failover(["begin", "a", "test"])).code).toBe(0);
  await host.shell(`echo new >target/a; echo more >target/c; rm target/b`);
}

it("does nothing if it is not known who uses the volumes", async () => {
  await inUse();
  // Another volume-users beside it.
  const copy = `cp -r "\${1%/*}" '${host.at("programs")}'; printf '#!/bin/sh\\nexit 2\\n' >'${host.at("programs")}/volume-users'
    exec '${host.at("programs")}/lsyncd-failover' "\${@:2}"`;
  const { code, text } = await host.failover(["end", "--keep", "source"], ["bash", "-c", copy, "bash"]);
  expect([code, text]).toEqual([1, expect.stringContaining("It could not be determined which processes use")]);
  expect((await host.records()).root).toBe("in-use");
});

describe("begin", () => {
  it("stops lsyncd, and records the failover on the root disk and on the mirror", async () => {
    const { code, text } = await host.failover(["begin", "the\nprimary"]);
    expect([code, text]).toEqual([0, expect.stringContaining(`The mirror ${host.at("target")} can be used now.`)]);
    expect(await host.records()).toEqual({ root: "in-use", source: "mirroring", target: "in-use" });
    expect(await host.read("state/failover")).toMatch(/^since .*, the primary\nstate in-use\n$/);
    expect(await host.read("systemctl.log")).toMatch(/^stop lsyncd.service\n/m);
    expect((await host.failover(["begin"])).code).toBe(0);
  });

  it.each([
    [0, 2, "lsyncd is still running"],
    [65534, 0, "can be used now"],
  ])("a process named lsyncd that user %s has started: exits with %i", async (user, code, text) => {
    await host.shell("rm bin/pgrep");
    const started = `perl -e '$) = $> = ${user}; $0 = "lsyncd"; sleep 60' & sleep 0.5; "$@"`;
    const apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", started, "bash"];
    expect(await host.failover(["begin"], apart)).toEqual({ code, text: expect.stringContaining(text) as string });
  });

  it("works on a full root disk, also after lsyncd was stopped", async () => {
    await host.shell(`mount -t tmpfs -o size=64k,nr_inodes=100 full state; printf 'target\\ttmpfs:volume-two\\n' >state/volumes
      dd if=/dev/zero of=state/filler bs=4k 2>/dev/null || true`);
    const { code, text } = await host.failover(["begin", "full"]);
    expect([code, text]).toEqual([0, expect.stringContaining("can be used now")]);
    expect(await host.records()).toMatchObject({ root: "in-use", target: "in-use" });
    await host.shell("umount state");
  });

  it("works when the root disk has no room for a file name: only the mirror has the record", async () => {
    await host.shell(
      `mount -t tmpfs -o size=64k,nr_inodes=3 full state; printf 'target\\ttmpfs:volume-two\\n' >state/volumes; touch state/x`,
    );
    const { code, text } = await host.failover(["begin"]);
    expect([code, text]).toEqual([0, expect.stringContaining("The mirror's own volume has recorded the failover")]);
    expect(await host.records()).toMatchObject({ root: "mirroring", target: "in-use" });
    await host.shell("umount state");
  });

  it("records only on the root disk when the mirror is not mounted, and writes nothing into the mount point", async () => {
    await host.shell("umount target");
    const { code, text } = await host.failover(["begin"]);
    expect([code, text]).toEqual([0, expect.stringContaining("could not record the failover")]);
    expect(await host.records()).toMatchObject({ root: "in-use", target: "mirroring" });
  });
});

describe("a root disk that was restored from a backup", () => {
  it("does not cancel a failover: each command uses the stricter record", async () => {
    await inUse();
    await host.shell("rm state/failover");
    const { code, text } = await host.failover(["status"]);
    expect([code, text]).toEqual([0, expect.stringContaining("the root disk's record is less strict")]);
    const ended = await host.failover(["end", "--keep", "target"]);
    expect(ended.code).toBe(0);
    expect(await host.shell("diff -r source target && cat source/a")).toBe("new\n");
    expect(await host.records()).toEqual(everywhere("mirroring"));
  });

  it("does not cancel an interrupted restore", async () => {
    await inUse();
    await host.shell(`printf '#!/bin/bash\\nexit 23\\n' >bin/rsync; chmod +x bin/rsync`);
    expect((await host.failover(["end", "--keep", "target"])).code).toBe(2);
    await host.shell("rm state/failover bin/rsync");
    const { code, text } = await host.failover(["end", "--keep", "source"]);
    expect([code, text]).toEqual([1, expect.stringContaining("is an incomplete copy")]);
  });
});

describe("end --keep target", () => {
  it("copies the mirror's changes to the source, and mirrors again", async () => {
    await inUse();
    const { code, text } = await host.failover(["end", "--keep", "target"]);
    expect([code, text]).toEqual([0, expect.stringContaining("again.")]);
    expect(await host.shell("diff -r source target && ls source")).toBe("a\nc\n");
    expect(await host.records()).toEqual(everywhere("mirroring"));
    expect(await host.read("lsyncd")).toBe("active\n");
  });

  it("runs rsync so that it sets no mode by a path", async () => {
    await inUse();
    const trace = ["strace", "-f", "-o", host.at("trace"), "-e", "trace=execve,prctl"];
    expect((await host.failover(["end", "--keep", "target"], trace)).code).toBe(0);
    const lines = (await host.read("trace")).split("\n");
    const copy = lines.find((line) => line.includes('"--archive"') && line.includes('execve("/usr/bin/rsync"'));
    const [pid = ""] = (copy ?? "").split(" ");
    // volume-rsync.test.ts shows what this filter does.
    expect(lines.slice(0, lines.indexOf(copy ?? ""))).toContainEqual(
      expect.stringMatching(`^${pid} +prctl\\(PR_SET_SECCOMP, SECCOMP_MODE_FILTER.* = 0$`),
    );
  });

  it("restores files that a user has named like unfinished copies, and nothing of root's own directory", async () => {
    await inUse();
    await host.shell(`cd target && echo mine | tee .lsyncd-rsync.text .lsyncd-rsync.a.sqlite
      mkdir -p e/.lsyncd-rsync.private && echo copy >e/.lsyncd-rsync.private/copy.1.2`);
    expect((await host.failover(["end", "--keep", "target"])).code).toBe(0);
    expect(await host.shell("cat source/.lsyncd-rsync.{text,a.sqlite}; ls -A source/e")).toBe("mine\nmine\n");
  });

  // More than the source has room for if its holes were written out: a grown database that was copied, and one that changed.
  it("keeps the holes of sparse databases", async () => {
    await host.shell("truncate -s 50M source/d.sqlite; cp -a --sparse=always source/d.sqlite target/");
    await inUse();
    await host.shell(`for name in c d; do
      truncate -s 200M target/$name.sqlite
      echo $name | dd of=target/$name.sqlite bs=1 seek=150000000 conv=notrunc status=none
    done`);
    const { code, text } = await host.failover(["end", "--keep", "target"]);
    expect([code, text]).toEqual([0, expect.stringContaining("again.")]);
    expect(await host.shell("diff -r source target; du -sm source | cut -f 1")).toBe("1\n");
  });

  it("refuses afterwards, because no failover is active", async () => {
    const { code, text } = await host.failover(["end", "--keep", "target"]);
    expect([code, text]).toEqual([1, expect.stringContaining("is a mirror of")]);
    expect(await host.read("systemctl.log")).not.toContain("restart");
  });

  it.each([
    ["the mirror", "target/a"],
    ["the source", "source/a"],
  ])("refuses while a process has an open file on %s", async (_, file) => {
    await inUse();
    const user = spawn("tail", ["-f", host.at(file)], { stdio: "ignore" });
    try {
      const { code, text } = await host.failover(["end", "--keep", "target"]);
      expect([code, text]).toEqual([1, expect.stringMatching(`process ${String(user.pid)} \\(tail\\) has .*/a open`)]);
      expect(await host.shell("cat source/a")).toBe("old\n");
    } finally {
      user.kill();
    }
  });

  it("refuses while a process whose first thread has ended has an open file", async () => {
    await inUse();
    const program = `import ctypes, os, threading, time
def use():
    with open("${host.at("target")}/a") as file: time.sleep(60)
threading.Thread(target=use).start()
print("ready", flush=True)
time.sleep(0.3)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)`;
    const user = spawn("python3", ["-c", program], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      await host.shell(`until grep -q 'State:.Z' /proc/${String(user.pid)}/status; do sleep 0.1; done`);
      const { code, text } = await host.failover(["end", "--keep", "target"]);
      expect([code, text]).toEqual([1, expect.stringMatching(`process ${String(user.pid)} \\(.*\\) has .*/a open`)]);
      expect(await host.shell("cat source/a")).toBe("old\n");
    } finally {
      user.kill("SIGKILL");
    }
  });

  it("refuses while a container has the mirror mounted elsewhere, with or without an open file", async () => {
    await inUse();
    await host.shell("mkdir elsewhere");
    const script = `mount --bind '${host.at("target")}' '${host.at("elsewhere")}' && umount '${host.at("target")}' && echo ready; sleep 60`;
    const user = spawn("unshare", ["--mount", "--propagation", "private", "bash", "-c", script], { detached: true });
    try {
      await new Promise((resolve) => user.stdout.once("data", resolve));
      const { code, text } = await host.failover(["end", "--keep", "target"]);
      expect([code, text]).toEqual([
        1,
        expect.stringContaining(`has the volume mounted at ${host.at("elsewhere")} in a mount namespace of its own`),
      ]);
      expect(await host.shell("cat source/a")).toBe("old\n");
    } finally {
      process.kill(-(user.pid ?? 0), "SIGKILL");
    }
  });

  it("repeats the copy for files that changed during it", async () => {
    await inUse();
    await host.shell(`cat >bin/rsync <<'END'
#!/bin/bash
PATH=\${PATH#*:}
case "$*" in *--dry-run*) ;; *) rsync "$@"; sleep 1; exit ;; esac
exec rsync "$@"
END
      chmod +x bin/rsync
      { until diff -rq source target; do sleep 0.05; done; echo late >target/late; } >/dev/null 2>&1 </dev/null &`);
    const { code, text } = await host.failover(["end", "--keep", "target"]);
    expect([code, text]).toEqual([2, expect.stringContaining("Files were changed during the copy")]);
    expect(await host.records()).toEqual(everywhere("restoring"));
    await host.shell("rm bin/rsync");
    expect((await host.failover(["end", "--keep", "target"])).code).toBe(0);
    expect(await host.shell("cat source/late")).toBe("late\n");
  });

  it.each([
    ["umount target", "Nothing is mounted at"],
    ["umount source", "Nothing is mounted at"],
    ["rm -r target/*", "is empty, and so would be"],
    ["mkdir target/in; mount -t tmpfs x target/in", "is mounted inside"],
    ["umount source; mount -t tmpfs -o size=16k volume-one source; fallocate -l 1m target/big", "is too small"],
    [
      "printf 'source\\ttmpfs:volume-one\\ntarget\\ttmpfs:another\\n' >state/volumes",
      "is not the mirror that was deployed",
    ],
  ])("refuses after: %s", async (change, why) => {
    await inUse();
    await host.shell(change);
    const { code, text } = await host.failover(["end", "--keep", "target"]);
    expect([code, text]).toEqual([1, expect.stringContaining(why)]);
    expect(text).toContain("nothing was changed");
    expect((await host.records()).root).toBe("in-use");
    await host.shell("umount target/in 2>/dev/null || true");
  });

  it("requires a new source to be accepted, and lsyncd waits until then", async () => {
    await inUse();
    await host.shell("umount source; mount -t tmpfs -o size=64m volume-three source");
    const { code, text } = await host.failover(["end", "--keep", "target"]);
    expect([code, text]).toEqual([
      0,
      expect.stringContaining("(tmpfs:volume-three): accept it with lsyncd:acceptVolumes"),
    ]);
    expect(await host.read("systemctl.log")).toContain("--no-block restart lsyncd.service");
  });
});

describe("an interrupted restore", () => {
  beforeEach(async () => {
    await inUse();
    await host.shell(`printf '#!/bin/bash\\nexit 20\\n' >bin/rsync; chmod +x bin/rsync`);
    expect((await host.failover(["end", "--keep", "target"])).code).toBe(2);
    await host.shell("rm bin/rsync");
    expect(await host.records()).toEqual(everywhere("restoring"));
  });

  it.each([[["end", "--keep", "source"]], [["end", "--reverse"]], [["begin"]]])("refuses %j", async (args) => {
    const { code, text } = await host.failover(args);
    expect([code, text]).toEqual([1, expect.stringContaining("A restore has begun")]);
    expect(await host.records()).toEqual(everywhere("restoring"));
    expect(await host.shell("cat target/a")).toBe("new\n");
  });

  it("can be completed", async () => {
    expect((await host.failover(["end", "--keep", "target"])).code).toBe(0);
    expect(await host.shell("diff -r source target && ls source")).toBe("a\nc\n");
  });

  it("can be abandoned in favour of the mirror, and the source is never taken for complete", async () => {
    expect((await host.failover(["abandon", "--give-up", "source"])).code).toBe(0);
    expect(await host.records()).toMatchObject({ root: "in-use", target: "in-use" });
    const { code, text } = await host.failover(["end", "--keep", "source"]);
    expect([code, text]).toEqual([1, expect.stringContaining("is an incomplete copy")]);
    await host.shell("echo newer >target/a");
    expect((await host.failover(["end", "--keep", "target"])).code).toBe(0);
    expect(await host.shell("cat source/a")).toBe("newer\n");
    expect(await host.records()).toEqual(everywhere("mirroring"));
  });

  it("can be abandoned in favour of the source, when the mirror is lost", async () => {
    expect((await host.failover(["abandon", "--give-up", "target"])).code).toBe(0);
    expect((await host.failover(["end", "--keep", "source"])).code).toBe(0);
    expect(await host.records()).toEqual(everywhere("mirroring"));
  });

  it("is abandoned only with the name of the copy to give up", async () => {
    expect((await host.failover(["abandon"])).code).toBe(2);
    expect((await host.failover(["abandon", "--give-up", "both"])).code).toBe(2);
    expect(await host.records()).toEqual(everywhere("restoring"));
  });
});

it("works on file systems without extended attributes, where only the root disk has the record", async () => {
  // /proc and the like have none; nor does ramfs, apart from security.*.
  await host.shell(`umount source target; mount -t ramfs volume-one source; mount -t ramfs volume-two target
    printf 'source\\tramfs:volume-one\\ntarget\\tramfs:volume-two\\n' >state/volumes; echo new >target/a`);
  expect((await host.failover(["begin"])).text).toContain("could not record the failover");
  expect((await host.failover(["end", "--keep", "target"])).code).toBe(0);
  expect(await host.shell("cat source/a")).toBe("new\n");
});

it("an end that was interrupted after the copy does not copy again, because the application may be using the source", async () => {
  await inUse();
  await host.shell(`mv bin/systemctl bin/real; printf '#!/bin/bash\\ncase "$*" in *restart*) exit 1 ;; esac; exec "\${0%%/*}/real" "$@"\\n' >bin/systemctl
    printf '#!/bin/bash\\nexit 1\\n' >bin/rm; chmod +x bin/*`);
  expect((await host.failover(["end", "--keep", "target"])).code).toBe(2);
  expect((await host.records()).root).toBe("done");
  await host.shell(`/bin/rm bin/rm bin/systemctl; mv bin/real bin/systemctl; echo "the application's" >source/a`);
  const { code, text } = await host.failover(["end", "--keep", "target"]);
  expect([code, text]).toEqual([0, expect.stringContaining("The failover has ended")]);
  expect(await host.shell("cat source/a")).toBe("the application's\n");
});

describe("end --reverse", () => {
  const swapped = `umount source target; mount --move elsewhere source; mount -t tmpfs -o size=64m volume-three target`;
  const swap = async () =>
    host.shell(
      `mkdir elsewhere; mount --make-private / 2>/dev/null || true; mount --bind target elsewhere; ${swapped}`,
    );

  it("makes the mirror the source, and an empty volume its mirror", async () => {
    await inUse();
    expect((await host.failover(["end", "--reverse"])).text).toContain("is not the mirror that was deployed");
    await swap();
    await host.shell("touch target/something");
    expect((await host.failover(["end", "--reverse"])).text).toContain("is not empty (for example something)");
    await host.shell("rm target/something");
    expect((await host.failover(["end", "--reverse"])).code).toBe(0);
    expect(await host.read("state/volumes")).toBe("source\ttmpfs:volume-two\ntarget\ttmpfs:volume-three\n");
    expect(await host.records()).toEqual(everywhere("mirroring"));
    expect(await host.shell("cat source/a")).toBe("new\n");
  });
});
