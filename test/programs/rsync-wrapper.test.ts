import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { paths } from "../../infra/paths";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// The wrapper between lsyncd and rsync, called as lsyncd calls it, with substitutes for the programs that it calls.

let folder: string;
const at = (name: string): string => join(folder, name);
const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );
/** The names in a directory of the mirror, except root's private ones; none if the directory is missing. */
const mirrored = async (path = ""): Promise<string[]> =>
  (await readdir(at(`target/${path}`)).catch(() => [])).filter((name) => name !== ".lsyncd-as-code");
const held = () => readFile(at("run/held"), "utf8").catch(() => "");

beforeAll(() => needPrograms("rsync"), installTime);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-mirror-"));
  await shell("mkdir source target run bin");
  await script("bin/guard", "exit 0");
  await program();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const shell = (text: string) => run("bash", ["-c", `cd '${folder}' && ${text}`]);

async function script(name: string, text: string): Promise<void> {
  await writeFile(at(name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
}

/** Sets up the wrapper, with substitutes for rsync or for the copier of databases. */
const program = (replaced: Record<string, unknown> = {}): Promise<void> =>
  writeSettings(at("settings"), {
    ...{ source: at("source"), target: at("target"), state: at("run"), guard: at("bin/guard") },
    ...replaced,
  });

/** Calls it, with this many files and directories in use on the mirror's file system. Returns its exit code and output. */
async function call(
  args: string[],
  input: string,
  entries: number,
  before = "",
): Promise<{ code: number; text: string }> {
  await script("bin/df", `echo IUsed; echo ${entries}`);
  const env = { ...process.env, PATH: `${at("bin")}:${process.env.PATH}`, LSYNCD_SETTINGS: at("settings") };
  const command = `${before} exec perl '${programs}/rsync-wrapper' "$@"`;
  const { code, stdout, stderr } = await run("bash", ["-c", command, "bash", ...args], {
    env,
    input,
    allowFailure: true,
  });
  return { code, text: stdout + stderr };
}

const options = ["-WpglstoD", "--delete", "--ignore-errors", "--delete-after", "--inplace"];
const ends = () => [at("source/"), at("target/")];

/** A full pass. */
const pass = (entries: number, before?: string) => call([...options, "-r", ...ends()], "", entries, before);
/** A pass over changes: paths from the root with all their parents. */
const events = (list: string[], entries: number) =>
  call(
    [...options, "--force", "--from0", "--include-from=-", "--exclude=*", "-r", ...ends()],
    list.join("\0"),
    entries,
  );

describe("a directory of the source replaced by a symbolic link", () => {
  // lsyncd reports the removal of the directory and the creation of the link.
  const link = ["/", "/mail", "/mail/", "/mail/***"];

  beforeEach(() => shell("mkdir -p source/mail elsewhere && touch source/mail/{1..150} elsewhere/other"));

  it.each(["events", "a pass over everything"])("counts as the deletion of all its files: by %s", async (how) => {
    expect((await pass(1)).code).toBe(0);
    await shell("mv source/mail elsewhere/ && ln -s ../elsewhere/mail source/mail");
    const { code, text } = how === "events" ? await events(link, 153) : await pass(153);
    expect(code).toBe(1);
    expect(text).toContain("the mirror was stopped");
    expect(await held()).toContain("allow it once with `lsyncd-release`");
    expect(await mirrored("mail")).toHaveLength(150);
  });

  it("is mirrored as a link, and nothing is written through the link", async () => {
    await pass(1);
    await shell("rm -r source/mail && ln -s ../elsewhere source/mail");
    await writeFile(at("run/allow"), "");
    expect((await pass(153)).code).toBe(0);
    expect((await shell("readlink target/mail; ls elsewhere")).stdout).toBe("../elsewhere\nother\n");
  });
});

describe("names that lsyncd and rsync escape differently", () => {
  // As recorded from lsyncd 2.2.3: a backslash before each of ? * [ ], none before a backslash.
  it("are mirrored and deleted: by events, without the copier of databases", async () => {
    await shell(String.raw`touch 'source/a]b' 'source/q?\w' 'source/\' 'target/d]x' target/other`);
    const list = ["/", String.raw`/a\]b`, String.raw`/q\?\w`, "/\\", String.raw`/d\]x`];
    expect((await events(list, 10)).code).toBe(0);
    expect((await mirrored()).sort()).toEqual(["\\", "a]b", "other", String.raw`q?\w`]);
  });

  it("do not count as deleted when a directory [a] with 300 files is renamed", async () => {
    await shell("mkdir 'source/[a]' 'source/[b' && touch 'source/[a]'/{1..300} && cp -a source/. target");
    await shell("mv 'source/[a]' 'source/c]'");
    const files = Array.from({ length: 300 }, (_, index) => String.raw`/c\]/${index + 1}`);
    const list = ["/", String.raw`/\[a\]/`, String.raw`/\[a\]/***`, String.raw`/c\]/`, ...files];
    expect(await events(list, 303)).toEqual({ code: 0, text: "" });
    expect((await mirrored()).sort()).toEqual(["[b", "c]"]);
    expect(await mirrored("c]")).toHaveLength(300);
  });
});

describe("a source that is emptied during a pass", () => {
  it("loses no file in the mirror, because these deletions were not counted", async () => {
    await shell("mkdir source/mail && touch source/mail/{1..500}");
    await pass(1);
    // After the plan and before rsync starts: the worst moment.
    await script("bin/copier", `rm -rf '${at("source/mail")}'; exec ${paths.rsyncProgram} "$@"`);
    await program({ copyProgram: at("bin/copier") });
    expect((await pass(502)).code).toBe(0);
    expect(await mirrored("mail")).toHaveLength(500);
  });

  it("a file that returns after the count stays in the mirror", async () => {
    await shell("touch source/{1..30}");
    await pass(1);
    await shell("rm source/{1..5}");
    await script("bin/copier", `touch '${at("source/3")}'; exec ${paths.rsyncProgram} "$@"`);
    await program({ copyProgram: at("bin/copier") });
    expect((await events(["/", "/1", "/2", "/3", "/4", "/5"], 31)).code).toBe(0);
    expect(await mirrored()).toHaveLength(26);
    expect(await exists(at("run/resync"))).toBe(true);
  });

  it("a file that cannot be deleted does not block others", async () => {
    await shell("mkdir source/mail source/other && touch source/mail/{1..5} source/other/{1..5} source/{1..90}");
    await pass(1);
    await shell("rm -r source/mail source/other && chattr +i target/mail/3");
    try {
      expect((await pass(103)).code).toBe(0);
      expect(await mirrored("mail")).toContain("3");
      expect(await mirrored()).not.toContain("other");
      expect(await exists(at("run/resync"))).toBe(true);
      expect(await exists(at("run/left-behind"))).toBe(true);
    } finally {
      await shell("chattr -i target/mail/3");
    }
    expect((await pass(95)).code).toBe(0);
    expect(await exists(at("run/left-behind"))).toBe(false);
    expect(await mirrored()).not.toContain("mail");
  });

  it("deletes no more files of a directory than were counted", async () => {
    await shell("mkdir source/mail && touch source/mail/{1..5} source/{1..30}");
    await pass(1);
    await shell("rm -r source/mail");
    await script("bin/copier", `touch '${at("target/mail")}'/{6..20}; exec ${paths.rsyncProgram} "$@"`);
    await program({ copyProgram: at("bin/copier") });
    expect((await events(["/", "/mail", "/mail/", "/mail/***"], 37)).code).toBe(0);
    expect((await mirrored("mail")).length).toBeGreaterThanOrEqual(15);
    expect(await exists(at("run/resync"))).toBe(true);
  });
});

describe("missing information", () => {
  beforeEach(async () => {
    await shell("touch source/{1..300}");
    await pass(1);
    await shell("rm source/*");
  });

  it("a killed plan of rsync does not count as an empty plan", async () => {
    await script("bin/rsync", `case "$*" in *--dry-run*) kill -9 $$ ;; esac; exec ${paths.rsyncProgram} "$@"`);
    await program({ rsyncProgram: at("bin/rsync"), copyProgram: at("bin/rsync") });
    const { code, text } = await pass(301);
    expect(code).toBe(12); // lsyncd tries again
    expect(text).toContain("rsync could not list what it would delete");
    expect(await mirrored()).toHaveLength(300);
  });

  it("an operator's permission expires after a day", async () => {
    await writeFile(at("run/allow"), "");
    const old = Date.now() / 1000 - 90_000;
    await utimes(at("run/allow"), old, old);
    expect((await pass(301)).code).toBe(1);
    expect(await mirrored()).toHaveLength(300);
    expect(await exists(at("run/allow"))).toBe(false);
    await writeFile(at("run/allow"), "");
    expect((await pass(301)).code).toBe(0);
    expect(await mirrored()).toEqual([]);
  });
});

describe("the clock", () => {
  it("when set back, leaves no remembered times in the future", async () => {
    await writeFile(at("run/entries"), `${Math.round(Date.now() / 1000) + 100_000_000} 5\n`);
    await pass(1);
    const times = (await readFile(at("run/entries"), "utf8"))
      .trim()
      .split("\n")
      .map((line) => Number(line.split(" ")[0]));
    expect(Math.max(...times)).toBeLessThanOrEqual(Date.now() / 1000 + 1);
  });
});

describe("an error", () => {
  it("never looks like success to lsyncd when no more files can be opened", async () => {
    await shell("touch source/file");
    let complete = 0;
    for (let limit = 3; limit <= 16; limit++) {
      await shell("rm -f target/file");
      const { code, text } = await pass(1, `ulimit -n ${limit};`);
      // lsyncd treats 0, 23 and 24 as success.
      if ([0, 23, 24].includes(code) && (await mirrored()).length === 0)
        throw new Error(`with ${limit} files it ends with ${code} and has mirrored nothing: ${text}`);
      if (code === 0) complete += 1;
    }
    expect(complete).toBeGreaterThan(0);
  });

  it("23 (files left behind) causes a retry when it cannot be recorded for later", async () => {
    await script("bin/rsync", "exit 23");
    await program({ copyProgram: at("bin/rsync") });
    expect((await pass(1)).code).toBe(23);
    expect(await exists(at("run/resync"))).toBe(true);
    await program({ copyProgram: at("bin/rsync"), resyncFile: at("nowhere/resync") });
    expect((await pass(1)).code).toBe(12);
  });

  it("23 is recorded for the monitor until a full pass is complete; a list of changes is not", async () => {
    await shell("touch source/file");
    await pass(1);
    await script("bin/rsync", `${paths.rsyncProgram} "$@"; exit 23`);
    await program({ copyProgram: at("bin/rsync") });
    await events(["/", "/file"], 2);
    expect(await exists(at("run/left-behind"))).toBe(true);
    await program({});
    expect((await events(["/", "/file"], 2)).code).toBe(0);
    expect(await exists(at("run/left-behind"))).toBe(true);
    expect((await pass(2)).code).toBe(0);
    expect(await exists(at("run/left-behind"))).toBe(false);
  });

  it("stops a pass when a directory was replaced since it was checked", async () => {
    await shell("touch source/file");
    await script("bin/guard", `mv '${at("target")}' '${at("target.checked")}' && mkdir '${at("target")}'`);
    const { code, text } = await pass(1);
    expect(code).toBe(1);
    expect(text).toContain("is another directory than a moment ago");
    expect(await readdir(at("target.checked"))).toEqual([]);
    expect(await mirrored()).toEqual([]);
  });
});

const gone = (...names: string[]): string[] => ["/", ...names.map((name) => `/${name}`)];
const range = (from: number, to: number, suffix = ""): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index}${suffix}`);
/** Files with content, all different. */
const fillWith = (names: string) => shell(`cd source && for i in ${names}; do echo "$i $RANDOM" >$i; done`);

describe("a mirror with few files", () => {
  const databases = range(1, 20, ".sqlite");

  it.each(["events", "a pass over everything"])("holds the deletion of all of 20 databases: by %s", async (how) => {
    await fillWith("{1..20}.sqlite");
    await pass(1);
    await shell("rm -rf source/*");
    expect((how === "events" ? await events(gone(...databases), 21) : await pass(21)).code).toBe(1);
    expect(await held()).toContain("would have been deleted");
    expect(await mirrored()).toHaveLength(20);
  });

  it("allows the deletion of half of its files, but not of nearly all, in one or several passes", async () => {
    await fillWith("{1..20}");
    await pass(1);
    await shell("rm source/{1..10}");
    expect((await events(gone(...range(1, 10)), 21)).code).toBe(0);
    expect(await mirrored()).toHaveLength(10);
    await shell("rm source/{11..16}");
    expect((await events(gone(...range(11, 16)), 11)).code).toBe(1);
    expect(await held()).toContain("nearly all of it, 16 of its 20 files and directories, would have been deleted");
    expect(await mirrored()).toHaveLength(10);
  });

  it("allows trying out a file, and renaming a directory with its content", async () => {
    await fillWith("test.txt");
    await pass(1);
    await shell("rm source/test.txt");
    expect((await events(gone("test.txt"), 2)).code).toBe(0);
    await shell("mkdir source/a && cd source/a && for i in {1..9}; do echo $i >$i.sqlite; done");
    await pass(1);
    await shell("mv source/a source/b");
    expect(
      (
        await events(
          ["/", "/a", "/a/", "/a/***", "/b", "/b/", ...range(1, 9, ".sqlite").map((name) => `/b/${name}`)],
          11,
        )
      ).code,
    ).toBe(0);
    expect(await mirrored("b")).toHaveLength(9);
  });
});

describe("databases deleted together", () => {
  beforeEach(async () => {
    await shell("mkdir source/a source/b source/c");
    await fillWith("a/{1..4}.sqlite b/{1..2}.sqlite c/{1..60}");
    await pass(1);
  });

  it("are held if they are all of a directory", async () => {
    await shell("rm source/a/*");
    expect((await events(gone("a", "a/", ...range(1, 4, ".sqlite").map((name) => `a/${name}`)), 70)).code).toBe(1);
    expect(await held()).toContain("all 4 databases of a would have been lost");
    expect(await mirrored("a")).toHaveLength(4);
  });

  it("are not held if they are some of a directory, or a directory of two", async () => {
    await shell("rm source/a/[123].sqlite source/b/*");
    expect((await pass(70)).code).toBe(0);
    expect(await mirrored("a")).toEqual(["4.sqlite"]);
    expect(await mirrored("b")).toEqual([]);
  });

  it("are held if it is the only one of a volume", async () => {
    await shell("rm source/a/* source/b/1.sqlite");
    await writeFile(at("run/allow"), "");
    expect((await pass(70)).code).toBe(0);
    await shell("rm source/b/2.sqlite");
    expect((await events(gone("b", "b/", "b/2.sqlite"), 65)).code).toBe(1);
    expect(await held()).toContain("its only database would have been lost");
  });
});

describe("files that lose their content without being deleted", () => {
  beforeEach(async () => {
    await shell("mkdir source/d");
    await fillWith("d/{1..300}");
    await pass(1);
  });
  const listed = gone("d", "d/", ...range(1, 300).map((name) => `d/${name}`));
  /** A pass that is held and leaves the mirror unchanged. */
  async function isHeld(how: "events" | "pass", message: RegExp): Promise<void> {
    const before = (await shell("cd target && md5sum d/*")).stdout;
    expect((how === "events" ? await events(listed, 302) : await pass(302)).code).toBe(1);
    expect(await held()).toMatch(message);
    expect((await shell("cd target && md5sum d/*")).stdout).toBe(before);
  }

  it.each(["events", "pass"] as const)("emptied: held, by %s", async (how) => {
    await shell("for i in source/d/{1..120}; do : >$i; done");
    await isHeld(how, /120 of its 302 files and directories would have been deleted or emptied/);
  });

  it.each(["events", "pass"] as const)("replaced by directories: held, by %s", async (how) => {
    await shell("rm source/d/{1..120}; mkdir source/d/{1..120}");
    await isHeld(how, /would have been deleted or emptied/);
  });

  it.each(["events", "pass"] as const)("rewritten with unrelated content: held, by %s", async (how) => {
    await shell("for i in source/d/{1..200}; do head -c 40 /dev/urandom >$i; done");
    await isHeld(how, /200 of its 30\d files would have been rewritten or renamed to another suffix/);
  });

  it.each([
    ["empty files, by events", "for i in {1..300}; do : >d/g$i; done", "events"],
    ["empty files, by a pass over everything", "for i in {1..300}; do : >d/g$i; done", "pass"],
    ["more directories", "mkdir -p d/g{1..300}/{cur,new,tmp}", "pass"],
    ["links to nothing", "for i in {1..300}; do ln -s /nowhere d/g$i; done", "pass"],
  ])("replaced under other names by %s: held", async (_, change, how) => {
    await shell(`rm source/d/* && cd source && ${change}`);
    const list = [...listed, ...range(1, 300).map((name) => `/d/g${name}`)];
    expect((how === "events" ? await events(list, 302) : await pass(302)).code).toBe(1);
    expect(await held()).toContain("300 of its 302 files and directories would have been deleted, emptied or replaced");
    expect(await mirrored("d")).toHaveLength(300);
  });

  it("replaced by empty files in several passes within minutes: held, and a repeated pass counts once", async () => {
    await script(
      "bin/rsync",
      `[[ "$*" == *--dry-run* || ! -e '${at("fails")}' ]] && exec /usr/bin/rsync "$@"\nexit 12`,
    );
    await program({ rsyncProgram: at("bin/rsync"), copyProgram: at("bin/rsync") });
    const change = async (from: number, to: number) => {
      await shell(`cd source/d && rm {${from}..${to}} && for i in {${from}..${to}}; do : >g$i; done`);
      const names = range(from, to);
      return () => events(gone("d", "d/", ...names.flatMap((name) => [`d/${name}`, `d/g${name}`])), 302);
    };
    const again = await change(1, 90);
    await writeFile(at("fails"), "");
    for (let i = 0; i < 3; i++) expect((await again()).code).toBe(12);
    await rm(at("fails"));
    expect((await again()).code).toBe(0);
    expect((await (await change(91, 95))()).code).toBe(0);
    expect((await (await change(96, 185))()).code).toBe(1);
    expect(await held()).toContain("185 of its 302");
    expect(await mirrored("d")).toHaveLength(300);
  });

  it("renamed to another suffix: held", async () => {
    await shell("for i in source/d/{1..200}; do mv $i $i.locked; done");
    const list = [...listed, ...range(1, 200, ".locked").map((name) => `/d/${name}`)];
    expect((await events(list, 302)).code).toBe(1);
    expect(await held()).toMatch(/200 of its \d+ files would have been rewritten or renamed to another suffix/);
    expect(await mirrored("d")).toHaveLength(300);
  });

  it("in several passes within minutes: held", async () => {
    await shell("for i in source/d/{1..120}; do head -c 40 /dev/urandom >$i; done");
    expect((await events(listed.slice(0, 123), 302)).code).toBe(0);
    await shell("for i in source/d/{121..200}; do head -c 40 /dev/urandom >$i; done");
    expect((await events(listed, 302)).code).toBe(1);
    expect(await held()).toContain("200 of its");
  });

  it("a move of them and of as many empty files passes", async () => {
    await shell("touch source/d/e{1..300}");
    expect((await pass(302)).code).toBe(0);
    await shell("mv source/d source/new");
    expect(await pass(602)).toEqual({ code: 0, text: "" });
    expect(await mirrored("new")).toHaveLength(600);
  });

  it.each([
    ["a log rotation", "mv d/1 d/1.old; for i in d/{2..60}; do mv $i $i.1; : >$i; done", 0],
    ["the flags of mails", "for i in d/{1..300}; do mv $i $i:2,S; done", 0],
    ["lines that are added to every file", "for i in d/*; do echo more >>$i; done", 0],
    [
      "a lock file for each renamed mail",
      "for i in d/{1..300}; do mv $i $i:2,S; : >d/lock.${i#d/}; done; rm d/1:2,S",
      0,
    ],
    ["a batch of new files", "mkdir new; for i in new/{1..900}; do echo $i >$i; done", 0],
    ["a batch that replaces a third of all files", "for i in d/{1..100}; do head -c 40 /dev/urandom >$i; done", 0],
  ])("%s passes", async (_, change, code) => {
    await shell(`cd source && ${change}`);
    expect(await pass(302)).toMatchObject({ code });
    expect((await shell("diff -r -x .lsyncd-as-code source target")).stdout).toBe("");
  });
});

describe("a database", () => {
  const sql = (name: string, text: string) =>
    run("python3", [
      "-c",
      "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2])",
      at(`source/${name}`),
      text,
    ]);
  const rows =
    "create table t(x); with recursive n(i) as (select 1 union all select i+1 from n where i<2000) insert into t select hex(randomblob(50)) from n;";
  const all = range(1, 4, ".sqlite");

  beforeEach(async () => {
    for (const name of all) await sql(name, rows);
    await pass(1);
  });

  it("may shrink by VACUUM after most rows were deleted", async () => {
    for (const name of all) await sql(name, "delete from t where rowid>1; vacuum");
    expect((await events(gone(...all), 5)).code).toBe(0);
  });

  describe("in a directory that is replaced by another", () => {
    const names = range(1, 20, ".sqlite");
    const listed = (...folders: string[]) => [
      ...folders.flatMap((folder) => [folder, `${folder}/`, ...names.map((name) => `${folder}/${name}`)]),
    ];
    const replaced = () => events(gone(...listed("c", "n")), 30);

    beforeEach(async () => {
      await shell("mkdir source/c source/n");
      await sql("c/1.sqlite", rows);
      await shell("cd source/c && for i in {2..20}; do cp 1.sqlite $i.sqlite; done");
      expect((await pass(10)).code).toBe(0);
    });

    it.each(["events", "a pass over everything"])("by new ones with an empty table is held: by %s", async (how) => {
      await shell("rm source/c/*");
      await sql("n/1.sqlite", "create table t(x)");
      await shell("cd source/n && for i in {2..20}; do cp 1.sqlite $i.sqlite; done");
      expect((how === "events" ? await replaced() : await pass(30)).code).toBe(1);
      expect(await held()).toContain("all 20 databases of c would have been lost");
      expect(await mirrored("c")).toHaveLength(20);
    });

    it("is a move if they are the same, or are written to meanwhile", async () => {
      await shell("mv source/c/* source/n/");
      for (const name of names) await sql(`n/${name}`, "delete from t where rowid>1000; create table u(x)");
      await sql("n/1.sqlite", rows.replaceAll("into t", "into u").replace("create table t(x);", ""));
      await sql("n/2.sqlite", "delete from t where rowid>1600; vacuum");
      expect(await replaced()).toEqual({ code: 0, text: "" });
      expect(await mirrored("c")).toEqual([]);
      expect(await mirrored("n")).toHaveLength(20);
    });

    it("is a move if a -wal has their content", async () => {
      await shell("rm source/c/*");
      const fill = `import sqlite3, os
for i in range(1, 21):
    c = sqlite3.connect('%d.sqlite' % i, isolation_level=None); c.execute('pragma journal_mode=wal'); c.execute('pragma wal_autocheckpoint=0')
    c.execute('create table t(x)'); c.execute('insert into t values(zeroblob(200000))')
os._exit(0)`;
      await run("python3", ["-c", fill], { cwd: at("source/n") });
      const wal = names.flatMap((name) => [`/n/${name}-wal`, `/n/${name}-shm`]);
      expect((await events([...gone(...listed("c", "n")), ...wal], 30)).code).toBe(0);
      expect(await mirrored("c")).toEqual([]);
    });
  });

  it("without any content left counts as lost: all of them are held", async () => {
    for (const name of all) await sql(name, "drop table t; vacuum");
    expect((await events(gone(...all), 5)).code).toBe(1);
    expect(await held()).toMatch(/its 4 databases would have been lost|4 databases of|nearly all of it/);
  });

  it("that was encrypted by an attacker counts as lost: all of them are held", async () => {
    await shell("for i in source/*.sqlite; do head -c 100000 /dev/urandom >$i; done");
    expect((await pass(5)).code).toBe(1);
    expect(await held()).toMatch(/4 databases .* would have been lost/);
  });
});

describe("a pass that fails and is repeated", () => {
  const most = (from: number, to: number) => range(from, to).map((name) => `/${name}`);
  /** Calls with an rsync that copies nothing and exits with this code. */
  const failing = async (code: number, action: () => Promise<{ code: number }>) => {
    await writeFile(at("fails"), String(code));
    expect((await action()).code).toBe(code);
    await rm(at("fails"));
  };

  beforeEach(async () => {
    await script(
      "bin/rsync",
      `[[ "$*" == *--dry-run* || ! -e '${at("fails")}' ]] && exec /usr/bin/rsync "$@"\nexit $(<'${at("fails")}')`,
    );
    await program({ rsyncProgram: at("bin/rsync"), copyProgram: at("bin/rsync") });
    await fillWith("{1..300}");
    expect((await pass(0)).code).toBe(0);
  });

  it.each(["events", "a pass over everything"])(
    "counts deletions once without a number of entries: by %s",
    async (how) => {
      await shell("rm source/{1..60}");
      const again = () => (how === "events" ? events(["/", ...most(1, 60)], 0) : pass(0));
      for (let i = 0; i < 3; i++) await failing(12, again);
      expect((await again()).code).toBe(0);
      expect(await mirrored()).toHaveLength(240);
      // They count with later ones.
      await shell("rm source/{61..120}");
      expect((await events(["/", ...most(61, 120)], 0)).code).toBe(1);
    },
  );

  it.each([12, 23])("does not count new files that never arrive against deletions: exit code %s", async (code) => {
    await shell("rm source/{1..60}");
    expect((await events(["/", ...most(1, 60)], 0)).code).toBe(0);
    await fillWith("{1001..1100}");
    await failing(code, () => events(["/", ...most(1001, 1100)], 0));
    await shell("rm source/{61..120}");
    expect((await events(["/", ...most(61, 120)], 0)).code).toBe(1);
    expect(await mirrored()).toHaveLength(240);
  });

  it.each([0, 302])("counts emptied files once (number of entries: %s)", async (entries) => {
    await shell("rm -f run/entries; for i in source/{1..60}; do : >$i; done");
    const again = () => events(["/", ...most(1, 60)], entries);
    for (let i = 0; i < 3; i++) await failing(12, again);
    expect((await again()).code).toBe(0);
    await shell("for i in source/{61..120}; do : >$i; done");
    expect((await events(["/", ...most(61, 120)], entries)).code).toBe(1);
  });

  it("counts a directory that a file replaces once", async () => {
    await shell("mkdir source/d && cp source/{1..60} source/d/");
    expect((await pass(0)).code).toBe(0);
    await shell("rm -f run/entries; rm -r source/d; echo x >source/d");
    for (let i = 0; i < 3; i++) await failing(12, () => events(["/", "/d", "/d/", "/d/***"], 0));
    expect((await events(["/", "/d", "/d/", "/d/***"], 0)).code).toBe(0);
    await shell("rm source/{1..60}");
    expect((await events(["/", ...most(1, 60)], 0)).code).toBe(1);
  });
});

describe("a permission to delete", () => {
  beforeEach(async () => {
    await fillWith("{1..400}");
    await pass(1);
    await shell("rm source/{1..200}");
    expect((await pass(401)).code).toBe(1);
    // As lsyncd-release does, except for the restart.
    await shell("sed -n 2p run/held >run/allow && rm run/held");
  });

  it("covers the held deletions, for one pass", async () => {
    expect((await pass(401)).code).toBe(0);
    expect(await mirrored()).toHaveLength(200);
    await shell("rm source/{201..350}");
    expect((await pass(201)).code).toBe(1);
    expect(await mirrored()).toHaveLength(200);
  });

  it("covers nothing beyond the held deletions", async () => {
    await shell("rm source/*");
    expect((await pass(401)).code).toBe(1);
    expect(await mirrored()).toHaveLength(400);
  });

  it("ends after a pass that left files behind (23)", async () => {
    await script("bin/rsync", `case "$*" in *--dry-run*) exec ${paths.rsyncProgram} "$@" ;; esac; exit 23`);
    await program({ rsyncProgram: at("bin/rsync"), copyProgram: at("bin/rsync") });
    expect((await pass(401)).code).toBe(23);
    expect(await mirrored()).toHaveLength(200);
    expect(await exists(at("run/allow"))).toBe(false);
    await shell("rm source/*");
    expect((await pass(201)).code).toBe(1);
    expect(await mirrored()).toHaveLength(200);
  });

  it("is not used up by changes before its pass", async () => {
    expect((await events(gone(...range(1, 200)), 401)).code).toBe(1);
    expect(await mirrored()).toHaveLength(400);
  });
});

describe("a source that was set back in time", () => {
  const generation = (volume: string) => readFile(at(`${volume}/.lsyncd-as-code/generation`), "utf8");

  it("is held until it is accepted, even if it has no generation", async () => {
    await fillWith("{1..30}");
    await pass(1);
    expect([await generation("source"), await generation("target")]).toEqual(["1\n", "1\n"]);
    await shell("cp -a source snapshot");
    await shell("echo new >source/1 && touch -d '2 minutes ago' target/.lsyncd-as-code/generation");
    expect((await events(gone("1"), 31)).code).toBe(0);
    expect([await generation("source"), await generation("target")]).toEqual(["2\n", "2\n"]);
    await shell("rm -r source && mv snapshot source");
    expect((await pass(31)).code).toBe(1);
    expect(await held()).toContain("the source is older than its mirror (generation 1, the mirror has 2)");
    expect((await readFile(at("target/1"), "utf8")).trim()).toBe("new");
    await shell("rm -r run/held source/.lsyncd-as-code");
    expect((await pass(31)).code).toBe(1);
    expect(await held()).toContain("the source has no generation");
    await shell("rm run/held && touch run/accept");
    expect((await pass(31)).code).toBe(0);
    expect([await generation("source"), await generation("target")]).toEqual(["3\n", "3\n"]);
    expect((await readFile(at("target/1"), "utf8")).trim()).not.toBe("new");
  });

  it.each([
    ["a day ago", -86_401],
    ["with a clock that was ahead", 3_600],
  ])("is not accepted by a permission that was given %s", async (_, seconds) => {
    await fillWith("{1..30}");
    await pass(1);
    await shell("echo 5 >target/.lsyncd-as-code/generation && touch run/accept");
    const given = new Date(Date.now() + seconds * 1000);
    await utimes(at("run/accept"), given, given);
    expect((await pass(31)).code).toBe(1);
    expect(await held()).toContain("the source is older than its mirror");
    expect([await exists(at("run/accept")), await generation("target")]).toEqual([false, "5\n"]);
  });

  it("a private directory that belongs to another user stops the pass", async () => {
    await fillWith("1");
    await shell("mkdir -m 777 source/.lsyncd-as-code");
    const { code, text } = await pass(1);
    expect(code).toBe(12);
    expect(text).toContain(".lsyncd-as-code is not for root alone");
  });
});

describe("deleted files that are kept", () => {
  beforeEach(async () => {
    await program({ keepDeletedDays: 2 });
    await shell("mkdir -p source/d/e");
    await fillWith("{1..30} d/e/{1..5}");
    await pass(1);
    await shell("rm -r source/d source/{1..3}");
    expect((await events(["/", "/d", "/d/", "/d/***", "/1", "/2", "/3"], 38)).code).toBe(0);
  });
  const kept = async () =>
    (await shell("cd target/.lsyncd-as-code/deleted && find . -type f | sort")).stdout.split("\n").filter(Boolean);

  it("are outside the mirror, for root alone, under their paths", async () => {
    expect(await mirrored()).toHaveLength(27);
    expect((await kept()).map((path) => path.replace(/^\.\/[^/]*\//, ""))).toEqual([
      "1",
      "2",
      "3",
      ...range(1, 5).map((name) => `d/e/${name}`),
    ]);
    expect((await stat(at("target/.lsyncd-as-code"))).mode & 0o777).toBe(0o700);
    // They are not part of the mirror: neither compared nor counted.
    expect((await pass(38)).code).toBe(0);
    expect(await kept()).toHaveLength(8);
  });

  it("survive a version that had other directories, which go", async () => {
    await shell(`cd target && mkdir -m 700 .lsyncd-rsync.private .lsyncd-rsync.verify.7.0a .lsyncd-rsync.verify.mine
      touch .lsyncd-rsync.private/copy.999999999.1 .lsyncd-rsync.verify.7.0a/mirror-wal .lsyncd-rsync.verify.mine/text`);
    expect((await pass(38)).code).toBe(0);
    expect((await mirrored()).filter((name) => name.startsWith("."))).toEqual([]);
    // Only what that version did not make is deleted like any other file.
    expect((await kept()).filter((path) => path.includes("/.lsyncd-rsync"))).toEqual([
      expect.stringMatching(/\/\.lsyncd-rsync\.verify\.mine\/text$/),
    ]);
    expect(await kept()).toHaveLength(9);
  });

  it("are deleted when their days have passed", async () => {
    const record = "target/.lsyncd-as-code/deleted.ages";
    const hour = (await shell("ls target/.lsyncd-as-code/deleted")).stdout.trim();
    const [boot, uptime] = (await readFile(at(record), "utf8")).split(" ");
    await writeFile(at(record), `${boot} ${uptime} ${2 * 86_400}\n${hour} 0\n`);
    expect((await pass(38)).code).toBe(0);
    expect(await kept()).toHaveLength(8);
    await writeFile(at(record), `${boot} ${uptime} ${2 * 86_400 + 3600}\n${hour} 0\n`);
    expect((await pass(38)).code).toBe(0);
    expect(await kept()).toEqual([]);
  });

  it("stay if the clock that named them was wrong, or is", async () => {
    await shell("cd target/.lsyncd-as-code/deleted && mv * 1970-01-01T00");
    expect((await pass(38)).code).toBe(0);
    expect(await kept()).toHaveLength(8);
  });

  it("are both kept when deleted twice within an hour", async () => {
    await shell("echo other >source/1");
    await events(gone("1"), 31);
    await shell("rm source/1");
    await events(gone("1"), 32);
    expect((await kept()).filter((path) => path.endsWith("/1") && !path.includes("/d/"))).toHaveLength(2);
  });

  it("can be listed and restored, and never overwrite a file", async () => {
    const undelete = async (...words: string[]) => {
      const env = { ...process.env, LSYNCD_SETTINGS: at("settings") };
      const command = join(programs, "lsyncd-undelete");
      const { code, stdout, stderr } = await run("perl", [command, ...words], { env, allowFailure: true });
      return { code, text: stdout + stderr };
    };
    const list = await undelete("list", "d/e");
    const [hour = ""] = list.text.split("\t");
    expect(list.text).toMatch(/^\d{4}-\d\d-\d\dT\d\d\t\d+\td\/e\/1\n/);
    expect(list.text.trim().split("\n")).toHaveLength(5);
    expect((await undelete("restore", hour, "d")).text).toContain("7 files and directories were restored");
    expect(await readdir(at("source/d/e"))).toEqual(range(1, 5));
    expect((await undelete("restore", hour, "d/e/2")).text).toContain("d/e/2 already exists");
    expect((await undelete("restore", hour, "1")).code).toBe(0);
    expect((await undelete("restore", hour, "d/../1")).text).toContain("must not contain");
    expect((await undelete("restore", hour, "nothing")).text).toContain("nothing is not kept");
    // A parent that was replaced by a link is not followed.
    await shell("rm -r source/d && ln -s /etc source/d");
    expect((await undelete("restore", hour, "d/e/1")).code).toBe(1);
  });
});

describe("a probe of the monitor or of lsyncd-wait", () => {
  it.each([".lsyncd-monitor-probe", ".lsyncd-wait.1"])(
    "%s is deleted from the mirror, even if nothing else is there",
    async (name) => {
      await shell(`echo x >source/${name}`);
      expect((await events(["/", `/${name}`], 1)).code).toBe(0);
      expect(await mirrored()).toContain(name);
      await shell(`rm source/${name}`);
      expect((await events(["/", `/${name}`], 2)).code).toBe(0);
      expect(await mirrored()).not.toContain(name);
      expect(await held()).toBe("");
    },
  );

  it("is a directory like any other if a user has made one of that name: counted, and deleted whole", async () => {
    const name = ".lsyncd-wait.1";
    await shell(`mkdir source/${name} && touch source/${name}/{1..30} source/{1..200}`);
    expect((await pass(1)).code).toBe(0);
    expect(await mirrored(name)).toHaveLength(30);
    await shell(`rm -r source/${name}`);
    expect((await events(["/", `/${name}`, `/${name}/`, `/${name}/***`], 231)).code).toBe(0);
    expect(await mirrored()).not.toContain(name);
    // Otherwise everything would be mirrored again, without end.
    expect(await exists(at("run/resync"))).toBe(false);
    await shell(`mkdir source/${name} && touch source/${name}/{1..150}`);
    expect((await pass(201)).code).toBe(0);
    await shell(`rm -r source/${name}`);
    expect((await events(["/", `/${name}`, `/${name}/`, `/${name}/***`], 352)).code).toBe(1);
    expect(await mirrored(name)).toHaveLength(150);
  });
});
