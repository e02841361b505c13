import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "../../infra/paths";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// lsyncd-verify with directories as volumes.

let folder: string;
const at = (name: string): string => join(folder, name);
const shell = (text: string) => run("bash", ["-c", `set -e; cd '${folder}'; ${text}`]);

const settings = (given: Record<string, unknown> = {}): Promise<void> =>
  writeSettings(at("settings"), { source: at("source"), target: at("target"), state: at("run"), ...given });

beforeAll(() => needPrograms("rsync", "python3", "sqlite3"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-verify-"));
  await mkdir(at("source"));
  await mkdir(at("target"));
  await settings();
});
// Node cannot remove paths longer than the kernel accepts at once.
afterEach(() => run("rm", ["-rf", folder]));

interface Verdict {
  code: number;
  /** Its output without the summary, sorted. */
  findings: string[];
  summary: string;
}

const env = (): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${at("bin")}:${process.env.PATH}`,
  LSYNCD_SETTINGS: at("settings"),
});

/** By default, everything counts as too old to be a delay. */
async function verify(...args: string[]): Promise<Verdict> {
  const all = ["--max-age", "-1", ...args];
  const { code, stdout, stderr } = await run(join(programs, "lsyncd-verify"), all, { env: env(), allowFailure: true });
  const lines = `${stdout}${stderr}`.trimEnd().split("\n");
  return { code, summary: lines.at(-1) ?? "", findings: lines.slice(0, -1).sort() };
}

const mirror = () => shell("rsync -a source/ target/");
const everyType = `mkdir source/d; echo x >source/f; ln -s f source/L; mkfifo source/p; python3 -c '
import socket; socket.socket(socket.AF_UNIX).bind("source/s")'; mknod source/c c 1 3; mknod source/b b 7 99`;

describe("every type of file", () => {
  it("that is equal on both sides is not a fault, including symbolic links", async () => {
    await shell(everyType);
    await mirror();
    await shell("touch -h -d 2001-01-01 target/L");
    expect(await verify("--checksum")).toEqual({
      code: 0,
      findings: [],
      summary: "6 files, 0 databases: 0 faults, 0 not checked",
    });
  });

  it("is compared: links, sockets, FIFOs, devices, directories, owners", async () => {
    await shell(`${everyType}; mkdir source/new`);
    await mirror();
    await shell(`cd target; rmdir new; ln -sfn elsewhere L; rm p s; mknod p p; rm p; rm b; mknod b b 7 98; chown 7 c`);
    const { code, findings } = await verify();
    expect(code).toBe(1);
    expect(findings).toEqual([
      expect.stringMatching(/^FAULT L: differs in where it leads; the source was last changed/),
      expect.stringMatching(/^FAULT b: differs/),
      expect.stringMatching(/^FAULT c: differs in owner; /),
      "FAULT new: is missing in the mirror",
      "FAULT p: is missing in the mirror",
      "FAULT s: is missing in the mirror",
    ]);
  });
});

describe("a difference", () => {
  it("is found in a file that the application dates into the future", async () => {
    await shell("echo one >source/a; touch -d '10 years' source/a");
    await sleep(1100);
    expect((await verify("--max-age", "0")).findings).toEqual(["FAULT a: is missing in the mirror"]);
  });

  it("is found in a database with a time in the future, and its copy is not", async () => {
    const make =
      "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript('create table t(i); insert into t values(1)')";
    await shell(`for name in a b; do python3 -c "${make}" source/$name.sqlite; touch -d '10 years' source/$name.sqlite; done
      rsync -a source/b.sqlite target/`);
    await sleep(1100);
    expect((await verify("--max-age", "0")).findings).toEqual(["FAULT a.sqlite: is missing in the mirror"]);
  });

  it("is a delay in a file written a moment ago, whatever its timestamp says", async () => {
    await shell("echo one >source/a; touch -d 2001-01-01 source/a");
    expect(await verify("--max-age", "60")).toMatchObject({ code: 0, findings: [] });
  });

  it("is found in names that are special to rsync, and named", async () => {
    await shell(String.raw`touch 'source/a]b' 'source/q?\w' $'source/cr\ry' $'source/nl\nx' 'source/\#012'`);
    expect((await verify()).findings).toEqual([
      "FAULT \\x5c#012: is missing in the mirror",
      "FAULT a]b: is missing in the mirror",
      "FAULT cr\\x0dy: is missing in the mirror",
      "FAULT nl\\x0ax: is missing in the mirror",
      "FAULT q?\\x5cw: is missing in the mirror",
    ]);
  });

  it("is found beside a path too long for rsync, as are files that only the mirror has", async () => {
    const deep = 'chdir "source"; for (1 .. 20) { mkdir "x" x 250; chdir "x" x 250 } open my $f, ">", "file" or die';
    await shell(
      `echo >source/other; echo >target/left; perl -e '${deep}'; rsync -a --exclude=other source/ target/ || true`,
    );
    const { code, findings } = await verify();
    expect(code).toBe(1);
    expect(findings).toEqual([
      "FAULT left: is in the mirror only",
      "FAULT other: is missing in the mirror",
      expect.stringMatching(/^UNCHECKED \.: .*(overflow|too long)/i),
    ]);
  });
});

const database = (path: string) =>
  shell(
    `python3 -c 'import sqlite3; c = sqlite3.connect("${path}"); c.execute("create table t (a)"); c.executemany("insert into t values (?)", [["x" * 900]] * 200); c.commit()'`,
  );

/** A database whose CHECK constraint calls one of two functions: `edit` is also one of SQLite's shell. */
const checked = (path: string, check: string) =>
  run("python3", [
    "-c",
    `import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
for name, arguments in (("edit", 2), ("of_the_application", 1)): c.create_function(name, arguments, lambda *given: 1)
c.execute("create table t (a check (%s))" % sys.argv[2]); c.execute("insert into t values (1)"); c.commit()`,
    at(path),
    check,
  ]);

describe("a CHECK constraint of a database", () => {
  it.each([["--checksum"], ["--full"]])("runs no program as root: %s", async (...option) => {
    await checked("source/a.sqlite", `edit(a, 'touch ${at("ran")}; true')`);
    await mirror();
    expect(await verify(...option)).toMatchObject({ code: 0, findings: [] });
    expect(await readdir(folder)).not.toContain("ran");
    // This is what the constraint does when SQLite evaluates it.
    await run("sqlite3", ["-batch", at("target/a.sqlite"), "PRAGMA quick_check"], { allowFailure: true });
    expect(await readdir(folder)).toContain("ran");
  });

  it("may call a function of the application", async () => {
    await checked("source/a.sqlite", "of_the_application(a)");
    await mirror();
    expect(await verify()).toMatchObject({ code: 0, findings: [] });
  });
});

describe("a hostile database", () => {
  const evil = (): Promise<unknown> => writeFile(at("evil.sh"), `#!/bin/sh\nid >'${at("proof")}'\n`, { mode: 0o755 });
  const made = async (check: string): Promise<void> => {
    const sql = `PRAGMA ignore_check_constraints=ON; CREATE TABLE t(a, CHECK(${check})); INSERT INTO t VALUES('x')`;
    await run("/usr/bin/sqlite3", [at("source/a.sqlite"), sql]);
    await shell("rm -f proof");
    await mirror();
  };

  it.each(["quick_check", "integrity_check"])(
    "runs no program when root verifies it, and makes it read no file: %s",
    async (how) => {
      await evil();
      const options = how === "quick_check" ? [] : ["--full"];
      await made(`edit(a, '${at("evil.sh")}') IS NOT NULL`);
      expect(await verify(...options)).toMatchObject({ code: 0, findings: [] });
      await shell("rm source/a.sqlite target/a.sqlite; mkfifo fifo");
      await made(`length(readfile('${at("fifo")}')) >= 0`);
      expect(await verify(...options)).toMatchObject({ code: 0, findings: [] });
      expect(await readdir(folder)).not.toContain("proof");
    },
    30_000,
  );

  it("could not do so even if SQLite evaluated it, as the shell is confined to the copy", async () => {
    await evil();
    await shell("mkdir copy; echo secret >secret");
    await run("/usr/bin/sqlite3", [at("copy/mirror"), "PRAGMA journal_mode=wal; CREATE TABLE t(a)"]);
    const confined = (sql: string) =>
      run(
        "perl",
        [
          ...["-I", programs, "-MLsyncdAsCode::Verify::Sqlite", "-e"],
          `opendir my $copy, $ARGV[0] or die; chdir $copy; LsyncdAsCode::Verify::Sqlite::limit($copy, '/usr/bin/sqlite3') or die 'no Landlock';
         exec '/usr/bin/sqlite3', '-batch', '-init', '/dev/null', './mirror', $ARGV[1]`,
          at("copy"),
          sql,
        ],
        { allowFailure: true },
      );
    expect((await confined("insert into t values (1); select count(*) from t; PRAGMA quick_check")).stdout).toMatch(
      /1\nok\s*$/,
    );
    await confined(`select edit('x', '${at("evil.sh")}')`);
    expect(await readdir(folder)).not.toContain("proof");
    expect((await confined(`select coalesce(readfile('${at("secret")}'), 'nothing')`)).stdout).not.toContain("secret");
    await confined(`select writefile('${at("proof")}', 'x')`);
    expect(await readdir(folder)).not.toContain("proof");
  });
});

describe("a database copy mixed from two states, with the size and time of a good one", () => {
  /** Two committed states, the second in source/, the first in `old`. Every page of the table changes, and the tree grows. */
  const states = `python3 -c '
import shutil, sqlite3
c = sqlite3.connect("source/a.sqlite", isolation_level=None)
c.execute("pragma journal_mode = wal"); c.execute("create table t (i integer primary key, b)")
fill = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300) insert into t (b) select randomblob(900) from n"
c.execute(fill); c.execute("pragma wal_checkpoint(truncate)"); shutil.copy("source/a.sqlite", "old")
c.execute("delete from t where i % 3 = 0"); c.execute(fill); c.execute("pragma wal_checkpoint(truncate)"); c.close()'`;
  /** In the mirror, some pages are of the first state, as if their frames of the log had been lost. */
  const mix = (which: string) => `python3 -c '
new, old = (open(p, "rb").read() for p in ("source/a.sqlite", "old"))
with open("target/a.sqlite", "r+b") as f:
    for page in range(1, len(old) // 4096):
        if ${which}: f.seek(page * 4096); f.write(old[page * 4096:(page + 1) * 4096])'; touch -r source/a.sqlite target/a.sqlite`;

  it("is found without an option", async () => {
    await shell(states);
    await mirror();
    expect((await verify()).code).toBe(0);
    await shell(mix("page % 2"));
    expect(await verify()).toMatchObject({
      code: 1,
      findings: [expect.stringMatching(/^FAULT a\.sqlite: SQLite reports: /)],
    });
  });

  it("is found with --checksum if SQLite sees no fault: one row is old", async () => {
    await shell(states);
    await mirror();
    await shell(`python3 -c '
import sqlite3; c = sqlite3.connect("target/a.sqlite"); c.execute("update t set b = zeroblob(900) where i = 1"); c.commit(); c.close()'
      rm -f target/a.sqlite-*; touch -r source/a.sqlite target/a.sqlite`);
    expect(await verify()).toMatchObject({ code: 0, findings: [] });
    expect(await verify("--checksum")).toMatchObject({ code: 1, findings: [expect.stringContaining("differ")] });
  });

  it("is found without an option if it is encrypted: its pages are compared with the source", async () => {
    await shell(
      "head -c 81920 /dev/urandom >source/a.sqlite; cp source/a.sqlite old; sleep 0.1; touch source/a.sqlite",
    );
    await mirror();
    expect(await verify()).toMatchObject({ code: 0, findings: [] });
    await shell(
      "head -c 4096 /dev/urandom | dd of=target/a.sqlite bs=4096 seek=7 conv=notrunc status=none; touch -r source/a.sqlite target/a.sqlite",
    );
    expect(await verify()).toMatchObject({
      code: 1,
      findings: [expect.stringMatching(/^FAULT a\.sqlite: encrypted or not a database, compared by content: .*differ/)],
    });
  });
});

describe("a database that is written all the time, so that it is never seen at the same commit as its source", () => {
  /** Runs lsyncd-verify while the source changes several times a second; the mirror stays sound, and at an earlier state. */
  async function whileWritten(write: string): Promise<Verdict> {
    await mirror();
    await shell(`while [ ! -e end ]; do ${write}; sleep 0.2; done >/dev/null 2>&1 & sleep 1`);
    try {
      return await verify("--checksum", "--max-age", "600");
    } finally {
      await shell("touch end");
    }
  }

  it("is no finding if SQLite finds its copy sound: a weekly verification would cause an alert each week", async () => {
    await shell("sqlite3 source/a.sqlite 'create table t (a); insert into t values (1)'");
    expect(await whileWritten("sqlite3 source/a.sqlite 'insert into t values (2)'")).toEqual({
      code: 0,
      findings: [],
      // The journal of a transaction is a file, if there is one at that moment.
      summary: expect.stringMatching(/^[12] files, 1 databases: 0 faults, 0 not checked$/) as unknown,
    });
  });

  it("is not checked if it is encrypted", async () => {
    await shell("head -c 81920 /dev/urandom >source/a.sqlite");
    const write = "head -c 16 /dev/urandom | dd of=source/a.sqlite conv=notrunc status=none";
    const { code, findings } = await whileWritten(write);
    expect([code, findings]).toEqual([2, [expect.stringMatching(/^UNCHECKED a\.sqlite: .*: written continuously/)]]);
  });
});

describe("the private directory for copies of databases", () => {
  beforeEach(async () => {
    await database("source/a.sqlite");
    await mirror();
    await shell("mkdir outside; touch outside/{1..20} outside/mirror outside/source; chmod 777 outside target");
  });

  it("is not where a symbolic link of its name leads", async () => {
    await shell("rm -rf target/.lsyncd-as-code; ln -s ../outside target/.lsyncd-as-code");
    expect(await verify("--checksum")).toMatchObject({
      code: 2,
      summary: "1 files, 1 databases: 0 faults, 1 not checked",
    });
    expect(await readdir(at("outside"))).toHaveLength(22);
  });

  it("of a killed verification is removed, and no other", async () => {
    await shell(
      "cd target; umask 077; mkdir -p .lsyncd-as-code/{verify,deleted}; touch .lsyncd-as-code/{verify/mirror-wal,deleted/mine}",
    );
    expect((await verify()).code).toBe(0);
    expect(await readdir(at("target/.lsyncd-as-code/verify"))).toEqual([]);
    expect(await readdir(at("target/.lsyncd-as-code/deleted"))).toEqual(["mine"]);
  });

  it("leads nowhere outside while the application's user keeps replacing it by links", async () => {
    for (let i = 0; i < 15; i++) await shell(`cp -a source/a.sqlite source/${i}.sqlite`);
    await mirror();
    await shell("chown -R 65534 target; find outside -type f -exec sha256sum {} + | sort >before");
    // As that user, who owns the mirror's root: each private directory is moved away, and a link put in its place.
    const swap = `cd target; while :; do for d in .lsyncd-as-code; do
      [ -d "$d" ] && [ ! -L "$d" ] && mv -T "$d" moved.$RANDOM 2>/dev/null && ln -s ../outside "$d" 2>/dev/null; done; done`;
    const loop = shell(`exec timeout 12 setpriv --reuid 65534 --clear-groups bash -c '${swap}'`).catch(() => undefined);
    await sleep(300);
    for (let i = 0; i < 3; i++) await verify("--checksum");
    await loop;
    await shell("find outside -type f -exec sha256sum {} + | sort >after; cmp before after");
    expect(await readdir(at("outside"))).toHaveLength(22);
  }, 90_000);
});

describe("a repair", () => {
  const supervised = `while sleep 0.2; do [ -e run/resync ] || continue; rm run/resync
    perl '${programs}/rsync-wrapper' -WpglstoD --delete --ignore-errors --delete-after --inplace -r '%/source/' '%/target/' >>wrapper.log 2>&1; done`;

  /** Verifies while a process mirrors everything on request, as lsyncd's supervisor does. */
  async function repair(...args: string[]): Promise<Verdict> {
    const script = `cd '${folder}'; ${supervised.replaceAll("%", folder)}`;
    const supervisor = run("timeout", ["60", "bash", "-c", `echo $$ >supervisor; ${script}`], {
      cwd: folder,
      env: env(),
      allowFailure: true,
    });
    try {
      return await verify("--checksum", "--repair", "--repair-timeout", "12", ...args);
    } finally {
      await shell("kill $(cat supervisor)");
      await supervisor;
    }
  }

  it("restores files that were changed in the mirror, even with equal size and time", async () => {
    await shell("echo right >source/a; echo right >source/b; ln -s a source/L; mkfifo source/p");
    await mirror();
    await shell("cd target; echo wrong >a; touch -r ../source/a a; truncate -s 0 b; rm p; ln -sfn b L");
    const { code, findings, summary } = await repair();
    expect({ code, summary }).toEqual({ code: 0, summary: "4 files, 0 databases: 0 faults, 0 not checked" });
    expect(findings).toEqual([
      "4 repaired",
      expect.stringMatching(/^REPAIRED L: /),
      expect.stringMatching(/^REPAIRED a: differs in content; /),
      expect.stringMatching(/^REPAIRED b: differs in /),
      "REPAIRED p: is missing in the mirror",
    ]);
    expect((await shell("cat target/a target/b; readlink target/L")).stdout).toBe("right\nright\na\n");
    expect(await readFile(at("run/verify.tsv"), "utf8")).toMatch(/\tfaults\t0\t[^]*\nrepaired\ta\tdiffers in content/);
  });

  it("restores a file written through a memory mapping, and the other name of its hard link", async () => {
    await shell("echo first >source/a; ln source/a source/b");
    await mirror();
    // lsyncd mirrors the name that was written to, and does not know the other.
    await shell("echo other >source/a; cp -p source/a target/a");
    expect((await verify("--checksum")).findings).toEqual([expect.stringMatching(/^FAULT b: differs/)]);
    expect((await repair()).code).toBe(0);
    expect(await readFile(at("target/b"), "utf8")).toBe("other\n");
  });

  it("deletes nothing that the gate holds, and reports it", async () => {
    // The gate asks for the number of files of the mirror's file system.
    await mkdir(at("bin"));
    await writeFile(at("bin/df"), "#!/bin/sh\necho IUsed; echo 302\n", { mode: 0o755 });
    await shell("touch source/keep target/extra{1..300}; cp -p source/keep target/");
    const { code, summary } = await repair();
    expect(code).toBe(1);
    expect(summary).toBe("1 files, 0 databases: 300 faults, 0 not checked");
    expect((await readdir(at("target"))).length).toBeGreaterThanOrEqual(300);
    expect(await readFile(at("run/held"), "utf8")).toContain("would have been deleted");
  });

  it("of a damaged database is a complete copy", async () => {
    await database("source/a.sqlite");
    await mirror();
    await shell(
      "cp -p target/a.sqlite good; dd if=/dev/urandom of=target/a.sqlite bs=512 seek=20 count=40 conv=notrunc status=none; touch -r good target/a.sqlite",
    );
    expect((await verify()).findings).toEqual([expect.stringMatching(/^FAULT a\.sqlite: SQLite reports: /)]);
    expect(await repair()).toMatchObject({ code: 0, summary: "1 files, 1 databases: 0 faults, 0 not checked" });
    await shell("cmp source/a.sqlite target/a.sqlite");
  });

  it("that does not arrive is a fault", async () => {
    await shell("echo >source/a");
    expect(await verify("--repair", "--repair-timeout", "6")).toMatchObject({
      code: 1,
      findings: ["FAULT a: is missing in the mirror"],
    });
  });
});

it("does not change the mirror while lsyncd may not mirror", async () => {
  await writeFile(at("guard"), "#!/bin/sh\necho 'lsyncd-guard: the source volume is not mounted' >&2; exit 1\n", {
    mode: 0o755,
  });
  await settings({ guard: at("guard") });
  await shell("touch target/file");
  expect(await verify("--repair")).toEqual({
    code: 2,
    findings: [],
    summary: "lsyncd-verify: nothing was compared: the source volume is not mounted",
  });
  expect(await readdir(at("run"))).not.toContain("verify.tsv");
});

it("runs rsync with the configured options", async () => {
  await writeFile(at("rsync"), `#!/bin/sh\necho "$@" >>'${at("asked")}'\nexec ${paths.rsyncProgram} "$@"\n`, {
    mode: 0o755,
  });
  await settings({ rsyncProgram: at("rsync") });
  await verify();
  expect(await readFile(at("asked"), "utf8")).toMatch(/^--dry-run /);
});
