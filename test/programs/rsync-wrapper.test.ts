import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { paths } from "../../infra/paths";
import { run } from "../../toolchain/run";
import { programs, writeSettings } from "../../tools/torture/settings";
import { installTime, needPrograms } from "../support/programs";

// What stands between lsyncd and rsync, called as lsyncd calls it. What it calls itself can be replaced.

let folder: string;
const at = (name: string): string => join(folder, name);
const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );
/** The names in a directory of the mirror; none when it is not there. */
const mirrored = (path = ""): Promise<string[]> => readdir(at(`target/${path}`)).catch(() => []);
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

/** Sets it up, with other programs in the place of rsync or of what copies databases. */
const program = (replaced: Record<string, string> = {}): Promise<void> =>
  writeSettings(at("settings"), {
    ...{ source: at("source"), target: at("target"), state: at("run"), guard: at("bin/guard") },
    ...replaced,
  });

/** Calls it, with so many files and directories in use on the mirror's file system. Returns its exit code and words. */
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

const options = ["-lptgoD", "--delete", "--ignore-errors", "--delete-after", "--inplace"];
const ends = () => [at("source/"), at("target/")];

/** A pass over everything. */
const pass = (entries: number, before?: string) => call([...options, "-r", ...ends()], "", entries, before);
/** A pass over what has changed: paths from the root with all their parents. */
const events = (list: string[], entries: number) =>
  call(
    [...options, "--force", "--from0", "--include-from=-", "--exclude=*", "-r", ...ends()],
    list.join("\0"),
    entries,
  );

describe("a directory of the source that became a symbolic link", () => {
  // lsyncd tells of the directory's end and of the link's beginning.
  const link = ["/", "/mail", "/mail/", "/mail/***"];

  beforeEach(() => shell("mkdir -p source/mail elsewhere && touch source/mail/{1..150} elsewhere/other"));

  it.each(["events", "a pass over everything"])("counts as the deletion of all that was in it: by %s", async (how) => {
    expect((await pass(1)).code).toBe(0);
    await shell("mv source/mail elsewhere/ && ln -s ../elsewhere/mail source/mail");
    const { code, text } = how === "events" ? await events(link, 153) : await pass(153);
    expect(code).toBe(1);
    expect(text).toContain("the mirror was stopped");
    expect(await held()).toContain("let it happen once with `lsyncd-release`");
    expect(await mirrored("mail")).toHaveLength(150);
  });

  it("is mirrored as a link, and nothing is written through it", async () => {
    await pass(1);
    await shell("rm -r source/mail && ln -s ../elsewhere source/mail");
    await writeFile(at("run/allow"), "");
    expect((await events(link, 153)).code).toBe(0);
    expect((await shell("readlink target/mail; ls elsewhere")).stdout).toBe("../elsewhere\nother\n");
  });
});

describe("names that lsyncd writes otherwise than rsync reads them", () => {
  // As recorded from lsyncd 2.2.3: a backslash before each of ? * [ ], none before a backslash.
  it("are mirrored and deleted: by events, without the copier of databases", async () => {
    await shell(String.raw`touch 'source/a]b' 'source/q?\w' 'source/\' 'target/d]x' target/other`);
    const list = ["/", String.raw`/a\]b`, String.raw`/q\?\w`, "/\\", String.raw`/d\]x`];
    expect((await events(list, 10)).code).toBe(0);
    expect((await mirrored()).sort()).toEqual(["\\", "a]b", "other", String.raw`q?\w`]);
  });

  it("do not count as lost: a directory [a] with 300 files is renamed", async () => {
    await shell("mkdir 'source/[a]' 'source/[b' && touch 'source/[a]'/{1..300} && cp -a source/. target");
    await shell("mv 'source/[a]' 'source/c]'");
    const files = Array.from({ length: 300 }, (_, index) => String.raw`/c\]/${index + 1}`);
    const list = ["/", String.raw`/\[a\]/`, String.raw`/\[a\]/***`, String.raw`/c\]/`, ...files];
    expect(await events(list, 303)).toEqual({ code: 0, text: "" });
    expect((await mirrored()).sort()).toEqual(["[b", "c]"]);
    expect(await mirrored("c]")).toHaveLength(300);
  });
});

describe("a source that is emptied while a pass is under way", () => {
  it("loses no more of its mirror than the limit, and holds it", async () => {
    await shell("mkdir source/mail && touch source/mail/{1..500}");
    await pass(1);
    // After the plan, before rsync has looked: at the worst moment.
    await script("bin/copier", `rm -rf '${at("source/mail")}'; exec ${paths.rsyncProgram} "$@"`);
    await program({ copyProgram: at("bin/copier") });
    const { code } = await pass(502);
    expect(code).toBe(1);
    expect(await held()).toMatch(/more than \d+ of its files and directories would have been deleted in one pass/);
    expect((await mirrored("mail")).length).toBeGreaterThanOrEqual(400);
  });
});

describe("what it cannot know", () => {
  beforeEach(async () => {
    await shell("touch source/{1..300}");
    await pass(1);
    await shell("rm source/*");
  });

  it("is not taken for nothing: rsync's plan was killed", async () => {
    await script("bin/rsync", `case "$*" in *--dry-run*) kill -9 $$ ;; esac; exec ${paths.rsyncProgram} "$@"`);
    await program({ rsyncProgram: at("bin/rsync"), copyProgram: at("bin/rsync") });
    const { code, text } = await pass(301);
    expect(code).toBe(12); // lsyncd tries again
    expect(text).toContain("rsync could not say what it would delete");
    expect(await mirrored()).toHaveLength(300);
  });

  it("what an operator has allowed more than a day ago counts no more", async () => {
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
  it("set back does not leave times in the future among what is remembered", async () => {
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
  it("never looks like success to lsyncd: no more files can be opened", async () => {
    await shell("touch source/file");
    let complete = 0;
    for (let limit = 3; limit <= 16; limit++) {
      await shell("rm -f target/file");
      const { code, text } = await pass(1, `ulimit -n ${limit};`);
      // 0, 23 and 24 are success to lsyncd.
      if ([0, 23, 24].includes(code) && (await mirrored()).length === 0)
        throw new Error(`with ${limit} files it ends with ${code} and has mirrored nothing: ${text}`);
      if (code === 0) complete += 1;
    }
    expect(complete).toBeGreaterThan(0);
  });

  it("that leaves files behind (23) is repeated when it cannot be marked for later", async () => {
    await script("bin/rsync", "exit 23");
    await program({ copyProgram: at("bin/rsync") });
    expect((await pass(1)).code).toBe(23);
    expect(await exists(at("run/resync"))).toBe(true);
    await program({ copyProgram: at("bin/rsync"), resyncFile: at("nowhere/resync") });
    expect((await pass(1)).code).toBe(12);
  });

  it("another directory at a path than the one that was checked: nothing is done", async () => {
    await shell("touch source/file");
    await script("bin/guard", `mv '${at("target")}' '${at("target.checked")}' && mkdir '${at("target")}'`);
    const { code, text } = await pass(1);
    expect(code).toBe(1);
    expect(text).toContain("is another directory than a moment ago");
    expect(await readdir(at("target.checked"))).toEqual([]);
    expect(await mirrored()).toEqual([]);
  });
});
