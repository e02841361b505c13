import { mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fragment } from "../../infra/commands/script";
import { run } from "../../toolchain/run";
import { library, writeSettings } from "../support/host-settings";

// Libraries that the host's programs and the deployment's scripts share: volume.sh, inotify.sh, undo.sh.

let folder: string;
const at = (name: string): string => join(folder, name);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-libraries-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs shell text after a library, in a mount namespace of its own. */
async function withLibrary(name: string, text: string): Promise<{ code: number; lines: string[] }> {
  const script = `set -u; cd '${folder}'; source '${library}/${name}'; ${text}`;
  const { code, stdout, stderr } = await run("unshare", ["--map-root-user", "--mount", "bash", "-c", script], {
    allowFailure: true,
  });
  return { code, lines: `${stdout}${stderr}`.trim().split("\n") };
}

describe("volume.sh", () => {
  it("identifies a volume only by a mount at exactly that path", async () => {
    const { lines } = await withLibrary(
      "volume.sh",
      `mkdir a 'b b' plain; mount -t tmpfs one a; mkdir a/sub; mount -t tmpfs two 'b b'; mount --bind a/sub plain; ln -s a link
       for path in "$PWD/a" "$PWD/b b" "$PWD/plain" "$PWD/link" "$PWD/a/sub" "$PWD/none"; do
         volume_identity "$path" || echo "none: $?"
       done`,
    );
    expect(lines).toEqual(["tmpfs:one", "tmpfs:two", "tmpfs:one/sub", "none: 1", "none: 1", "none: 1"]);
  });

  it("detects a mount that hides the volume, and mounts inside it", async () => {
    const { lines } = await withLibrary(
      "volume.sh",
      `mkdir -p mnt/a; mount -t tmpfs one mnt/a; mkdir mnt/a/in
       mounted_inside "$PWD/mnt/a" || echo nothing inside
       mount -t tmpfs more mnt/a/in; mounted_inside "$PWD/mnt/a"
       mount -t tmpfs over mnt; mkdir mnt/a; volume_identity "$PWD/mnt/a" || echo hidden`,
    );
    expect(lines).toEqual(["nothing inside", `${folder}/mnt/a/in`, "hidden"]);
  });

  it.each([
    ["UUID=0a-1/sub/dir", "UUID=0a-1", "0a-1/sub/dir"],
    ["UUID=0a-1", "UUID=0a-1", "0a-1"],
    ["tmpfs:one/sub", "tmpfs:one", "tmpfs:one/sub"],
    ["zfs:pool/mail", "zfs:pool", "zfs:pool/mail"],
    ["ext4:/dev/sda1", "ext4:/dev/sda1", "ext4:/dev/sda1"],
  ])("finds the file system of %s, and its configured name", async (identity, fileSystem, name) => {
    const { lines } = await withLibrary("volume.sh", `file_system_of '${identity}'; accepted_as '${identity}'`);
    expect(lines).toEqual([fileSystem, name]);
  });

  it("finds the first file, and ignores empty directories, lost+found and this program's own files", async () => {
    await mkdir(at("v/lost+found"), { recursive: true });
    await mkdir(at("v/.lsyncd-as-code"));
    for (const own of [".lsyncd-as-code/generation", ".lsyncd-monitor-probe", ".lsyncd-wait.123"])
      await writeFile(at(`v/${own}`), "");
    await mkdir(at("v/empty/er"), { recursive: true });
    await writeFile(at("v/lost+found/#1"), "");
    expect((await withLibrary("volume.sh", `first_file v 5`)).lines).toEqual([""]);
    await writeFile(at("v/empty/er/mail"), "");
    expect((await withLibrary("volume.sh", `first_file v 5`)).lines).toEqual(["./empty/er/mail"]);
    expect((await withLibrary("volume.sh", `first_file nowhere 5`)).code).toBe(1);
  });
});

describe("inotify.sh", () => {
  const raise = (limit: string, used: string) =>
    withLibrary(
      "inotify.sh",
      `WATCHES_FILE=limit WATCHES_SYSCTL=sysctl; echo ${limit} >limit; df() { printf 'IUsed\\n ${used}\\n'; }
       raise_watches /; cat limit; cat sysctl 2>/dev/null || echo not written`,
    );

  it("raises a limit that is too low, now and after a reboot, and keeps a higher one", async () => {
    expect((await raise("8192", "1000")).lines).toEqual(
      expect.arrayContaining(["524288", "fs.inotify.max_user_watches = 524288"]),
    );
    expect((await raise("8192", "1000000")).lines).toEqual(
      expect.arrayContaining(["1500000", "fs.inotify.max_user_watches = 1500000"]),
    );
    await rm(at("sysctl"));
    expect((await raise("9000000", "1000000")).lines).toEqual(["9000000", "not written"]);
    // File systems that allocate inodes on demand report none.
    expect((await raise("600000", "-")).lines).toEqual(["600000", "not written"]);
  });

  it("lsyncd-watches counts the configured source", async () => {
    const env = await writeSettings(at("settings"), { source: at("the source") });
    await writeFile(at("df"), `#!/bin/bash\nprintf '%s\\n' "$*" >'${at("asked")}'; echo 1\n`, { mode: 0o755 });
    await run(join(library, "lsyncd-watches"), [], { env: { ...env, PATH: `${folder}:${env.PATH ?? ""}` } });
    expect(await readFile(at("asked"), "utf8")).toBe(`--output=iused -- ${at("the source")}\n`);
  });
});

describe("lock.sh", () => {
  const lock = (text: string, options: { as?: string } = {}) =>
    run(
      options.as === undefined ? "bash" : "setpriv",
      [
        ...(options.as === undefined ? [] : ["--reuid", options.as, "--clear-groups", "bash"]),
        "-c",
        `cd '${folder}'; LSYNCD_LOCK='${at("locks/deployment")}'; source '${library}/lock.sh'; EARLIER_LOCK=$PWD/earlier; ${text}`,
      ],
      { allowFailure: true },
    );

  it("only root can open the lock file", async () => {
    await run("chmod", ["755", folder]);
    expect((await lock("umask 0; take_deployment_lock 1")).code).toBe(0);
    expect((await run("stat", ["-c", "%a", at("locks"), at("locks/deployment")])).stdout).toBe("700\n600\n");
    const { code, stderr } = await run(
      "setpriv",
      ["--reuid", "65534", "--clear-groups", "flock", at("locks/deployment"), "true"],
      { allowFailure: true },
    );
    expect([code === 0, stderr]).toEqual([false, expect.stringContaining("Permission denied")]);
  });

  it("only one run holds the lock at a time", async () => {
    const { stdout } = await lock(
      `take_deployment_lock 1; (exec 9>&-; LSYNCD_LOCK=$DEPLOYMENT_LOCK; take_deployment_lock 1) && echo both || echo one`,
    );
    expect(stdout).toBe("one\n");
  });

  it("waits for a run of an earlier version, and not for another user who holds its lock", async () => {
    await run("bash", ["-c", `cd '${folder}' && chmod 755 . && touch earlier && chmod 644 earlier`]);
    // As that version locks it: the program flock has exited while the lock is held.
    const takes = `(exec 7>>'${at("earlier")}'; flock 7; exec sleep 30) >/dev/null 2>&1`;
    const held = `until ! flock -n earlier true; do sleep 0.05; done; take_deployment_lock 1; echo $?; drop_earlier_lock; kill %1`;
    expect((await lock(`${takes} & ${held}`)).stdout).toBe("1\n");
    await run("bash", ["-c", `cd '${folder}' && touch earlier && chmod 666 earlier`]);
    const anybody = `setpriv --reuid 65534 --clear-groups bash -c "${takes}" >/dev/null 2>&1`;
    expect((await lock(`chmod 666 earlier; ${anybody} & ${held}`)).stdout).toBe("0\n");
    await expect(stat(at("earlier"))).rejects.toThrow("ENOENT");
  });
});

describe("undo.sh, as lsyncd-undo runs it", () => {
  // The state before: a file with its mode, and none at `absent`. The interrupted deployment has replaced both.
  beforeEach(async () => {
    const { code, stderr } = await run(
      "bash",
      [
        "-c",
        `set -e; cd '${folder}'; mkdir -p bin state/transaction/old'${folder}'/etc etc
         printf old >state/transaction/old'${folder}'/etc/kept; chmod 640 state/transaction/old'${folder}'/etc/kept
         printf new >etc/kept; printf new >etc/added; printf half >etc/kept.new
         echo '${folder}/etc/added' >state/transaction/absent
         printf 'enabled lsyncd.service\\nrunning lsyncd.service\\n' >state/transaction/units.old
         echo 'new manifest' >state/manifest; echo 'old manifest' >state/transaction/manifest.old
         echo 'new volumes' >state/volumes; echo held >state/held
         echo swapping >state/transaction/phase
         printf '#!/bin/bash\\necho "$@" >>${folder}/systemctl.log\\n' >bin/systemctl; chmod +x bin/systemctl`,
      ],
      { allowFailure: true },
    );
    expect([code, stderr]).toEqual([0, ""]);
  });

  const undo = () =>
    run(join(library, "lsyncd-undo"), [], {
      env: {
        ...process.env,
        PATH: `${at("bin")}:${process.env.PATH ?? ""}`,
        LSYNCD_STATE: at("state"),
        LSYNCD_LOCK: at("locks/deployment"),
        LSYNCD_ALERT: at("no-alert"),
      },
      allowFailure: true,
    });

  it("restores files, modes, records and units, and reports it", async () => {
    const { code, stderr } = await undo();
    expect([code, stderr]).toEqual([0, expect.stringContaining("has been undone")]);
    expect(await readFile(at("etc/kept"), "utf8")).toBe("old");
    expect(((await stat(at("etc/kept"))).mode & 0o777).toString(8)).toBe("640");
    for (const gone of ["etc/added", "etc/kept.new", "state/held", "state/transaction"])
      await expect(stat(at(gone))).rejects.toThrow("ENOENT");
    expect(await readFile(at("state/manifest"), "utf8")).toBe("old manifest\n");
    // The record of the volumes stays.
    expect(await readFile(at("state/volumes"), "utf8")).toBe("new volumes\n");
    expect((await readFile(at("systemctl.log"), "utf8")).split("\n")).toEqual(
      expect.arrayContaining(["enable --quiet lsyncd.service", "--no-block restart lsyncd.service"]),
    );
  });

  // All that a deployment with every waiver writes: an older source must not be accepted by one that was undone.
  const permissions = ["accept-source", "allow-deletion", "held"];
  const recorded = async () => {
    const texts = permissions.map((name) => readFile(at(`state/${name}`), "utf8").catch(() => "none"));
    return (await Promise.all(texts)).join(" ");
  };
  const recordVolumes = () => {
    const functions = fragment("activate.sh").replace(/\nmain "\$@"\n$/, "\n");
    return run("bash", [
      "-c",
      `STATE='${at("state")}' HOST=sqlite-1 STAGED=none; ${functions}
       recorded() { echo before; }
       source_id=one target_id=two passed_over='LSYNCD_SKIP_SAFETY LSYNCD_EMPTY_SOURCE_ERASES_MIRROR' && record_volumes`,
    ]);
  };

  it("takes back the permissions that the deployment gave", async () => {
    await recordVolumes();
    expect(await recorded()).toBe("  none");
    expect((await undo()).code).toBe(0);
    expect(await recorded()).toBe("none none none");
  });

  it("restores the permissions from before it with their time, and what was held", async () => {
    const before = new Date(Date.now() - 3_600_000);
    for (const name of permissions) {
      await writeFile(at(`state/transaction/${name}.old`), `old ${name}`);
      await utimes(at(`state/transaction/${name}.old`), before, before);
    }
    await recordVolumes();
    expect((await undo()).code).toBe(0);
    expect(await recorded()).toBe("old accept-source old allow-deletion old held");
    for (const name of permissions) expect((await stat(at(`state/${name}`))).mtime).toEqual(before);
  });

  it("does not give a permission again that lsyncd has used since", async () => {
    for (const name of permissions) await writeFile(at(`state/transaction/${name}.old`), `old ${name}`);
    await rm(at("state/held"));
    expect((await undo()).code).toBe(0);
    expect(await recorded()).toBe("none none old held");
  });

  it("does nothing while a deployment holds its lock, and nothing when there is nothing to undo", async () => {
    const env = { ...process.env, LSYNCD_STATE: at("state"), LSYNCD_LOCK: at("locks/deployment") };
    await run("mkdir", [at("locks")]);
    await run("flock", [at("locks/deployment"), join(library, "lsyncd-undo")], { env });
    expect(await readFile(at("etc/kept"), "utf8")).toBe("new");
    await undo();
    const { code, stdout, stderr } = await undo();
    expect([code, stdout, stderr]).toEqual([0, "", ""]);
  });

  it("keeps the rest for a later undo if something cannot be restored, and lsyncd does not start before", async () => {
    await run("bash", ["-c", `cd '${folder}' && rm -r etc && touch etc`]);
    const { code } = await undo();
    expect(code).toBe(1);
    // Empty: neither a phase in which lsyncd may start, nor gone.
    expect(await readFile(at("state/transaction/phase"), "utf8")).toBe("");
    await run("bash", ["-c", `cd '${folder}' && rm etc && mkdir etc`]);
    expect((await undo()).code).toBe(0);
    expect(await readFile(at("etc/kept"), "utf8")).toBe("old");
  });
});
