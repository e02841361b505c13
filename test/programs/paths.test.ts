import * as fc from "fast-check";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileNames, fileName, holds, latin } from "../support/names";
import { joined, perl, split } from "../support/perl";
import { installTime, needPrograms } from "../support/programs";

// LsyncdAsCode::Paths with the real lsyncd, which writes the lists, and the real rsync, which reads the rules.

let folder: string;
beforeAll(() => needPrograms("rsync"), installTime);
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-paths-"))));
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
const below = (directory: string, ...names: Buffer[]): Buffer =>
  Buffer.concat([bytes(join(folder, directory)), ...names.flatMap((name) => [bytes("/"), name])]);

/** Two directories with different names in them. */
function volumes(source: Buffer[], target: Buffer[] = []): void {
  for (const [directory, names] of [
    ["source", source],
    ["target", target],
  ] as const) {
    rmSync(join(folder, directory), { recursive: true, force: true });
    mkdirSync(join(folder, directory));
    for (const name of names) writeFileSync(below(directory, name), "");
  }
}

/** rsync's plan with these arguments: names with their changes. */
function planned(args: string[], input: Buffer): string[] {
  const { status, stdout, stderr } = spawnSync(
    "rsync",
    ["-n", "-rt", "--delete", "-i", "--8-bit-output", "--out-format=%i %l %n", ...args, "source/", "target/"],
    { cwd: folder, input },
  );
  if (status !== 0) throw new Error(stderr.toString());
  const print = `use LsyncdAsCode::Itemize; for (split /\\n/, $in) { my $i = LsyncdAsCode::Itemize::parse($_) or die $_;
    print "$i->{action} $i->{name}\\0" if $i->{name} ne '.' }`;
  return split(perl(print, stdout)).map(latin).sort();
}

const toRules = "use LsyncdAsCode::Paths; print LsyncdAsCode::Paths::to_rsync(LsyncdAsCode::Paths::from_lsyncd($in));";
const events = (list: Buffer[]): string[] =>
  planned(["--force", "--from0", "--include-from=-", "--exclude=*"], perl(toRules, joined(list)));

/** lsyncd's escaping of a path: `sub` in default-rsync.lua. The recorded list below compares this with the real one. */
const lsyncd = (path: Buffer): Buffer => bytes(latin(path).replace(/[?*[\]]/g, "\\$&"));

describe("lsyncd's list", () => {
  it("with names that are patterns to rsync is rewritten so that rsync finds each file", () => {
    const names = ["a]b", "q?\\w", "base].sqlite", "[a]", "a*\\*b", "\\", "\\]", "\\\\[", "cr\ry", "nl\nx", "#c"].map(
      bytes,
    );
    volumes(names);
    expect(events([bytes("/"), ...names.map((name) => lsyncd(Buffer.concat([bytes("/"), name])))])).toEqual(
      names.map((name) => `transfer ${latin(name)}`).sort(),
    );
  });

  it("makes rsync handle each listed file and no other: any bytes, written and deleted", () => {
    holds(
      fc.property(fileNames(2, 24), (names) => {
        // One in four each: written and listed, only written, deleted and listed, only deleted.
        const part = (which: number): Buffer[] => names.filter((_, index) => index % 4 === which);
        volumes([...part(0), ...part(1)], [...part(2), ...part(3)]);
        const list = [...part(0), ...part(2)].map((name) => lsyncd(Buffer.concat([bytes("/"), name])));
        expect(events([bytes("/"), ...list])).toEqual(
          [
            ...part(0).map((name) => `transfer ${latin(name)}`),
            ...part(2).map((name) => `delete ${latin(name)}`),
          ].sort(),
        );
      }),
      25,
    );
  });

  it("with a deleted directory removes all its content, and nothing beside it", () => {
    holds(
      fc.property(fileNames(2, 6), fileName, ([gone, ...others], inside) => {
        volumes([], others);
        if (gone === undefined) return;
        mkdirSync(below("target", gone));
        writeFileSync(below("target", gone, inside), "");
        const listed = Buffer.concat([bytes("/"), lsyncd(gone), bytes("/")]);
        expect(events([bytes("/"), listed, Buffer.concat([listed, bytes("***")])])).toEqual(
          [`delete ${latin(gone)}`, `delete ${latin(gone)}/${latin(inside)}`].sort(),
        );
      }),
      15,
    );
  });

  it("with a path too long when escaped still makes rsync find the file", () => {
    volumes([]);
    // 3,904 bytes, most of which need a backslash: rsync accepts patterns of less than 4,096.
    const name = "[".repeat(243);
    const make =
      'chdir shift; for (1 .. 15) { mkdir $ARGV[0]; chdir $ARGV[0] } for (qw(file other)) { open my $f, ">", $_ or die }';
    spawnSync("perl", ["-e", make, join(folder, "source"), name]);
    const path = Array<string>(15).fill(name).join("/");
    const list = [
      "/",
      ...Array.from({ length: 15 }, (_, depth) => `/${path.slice(0, 244 * (depth + 1) - 1)}/`),
      `/${path}/file`,
    ];
    const found = events(list.map((one) => lsyncd(bytes(one))));
    expect(found.filter((line) => line.startsWith("transfer"))).toEqual([`transfer ${path}/file`]);
  });

  it("matches the recording of the real lsyncd with these names", async () => {
    await needPrograms("lsyncd");
    volumes([]);
    const names = ["a]b", "q?\\w", "gone\\*", "star***", "\\]", "nl\nx", "\xff", "[a]"].map(bytes);
    const call = join(folder, "rsync");
    writeFileSync(
      call,
      `#!/bin/sh\ncase "$*" in *--include-from=-*) cat >>'${folder}/list'; printf '\\0' >>'${folder}/list';; esac\n`,
      {
        mode: 0o755,
      },
    );
    writeFileSync(
      join(folder, "conf.lua"),
      `settings { nodaemon = true } sync { default.rsync, source = "${folder}/source", target = "${folder}/target", delay = 1, rsync = { binary = "${call}" } }`,
    );
    mkdirSync(below("source", bytes("[gone")));
    const running: ChildProcess = spawn("lsyncd", [join(folder, "conf.lua")], { stdio: "ignore" });
    const list = (): Buffer[] => {
      try {
        return split(readFileSync(join(folder, "list")));
      } catch {
        return [];
      }
    };
    try {
      await sleep(1500);
      for (const name of names) writeFileSync(below("source", name), "");
      rmSync(below("source", bytes("[gone")), { recursive: true });
      for (let i = 0; i < 100 && !list().some((line) => latin(line) === "/\\[a\\]"); i++) await sleep(100);
    } finally {
      running.kill("SIGKILL");
    }
    const expected = [...names.map((name) => lsyncd(Buffer.concat([bytes("/"), name]))), bytes("/\\[gone/***")];
    expect(list().map(latin)).toEqual(expect.arrayContaining(expected.map(latin)));
    // Read back, they are the names of the files.
    const read = perl(
      'use LsyncdAsCode::Paths; print map { "$_->{path}$_->{below}\\0" } grep { $_->{path} ne "" } LsyncdAsCode::Paths::from_lsyncd($in)',
      joined(list()),
    );
    expect(split(read).map(latin)).toEqual(
      expect.arrayContaining([...names.map((name) => `${latin(name)}0`), "[gone1"]),
    );
  });

  it("is refused if lsyncd did not write it", () => {
    expect(() => perl(toRules, joined([bytes("a")]))).toThrow(/does not begin with a slash: a\n/);
  });
});

describe("a filter rule for one file", () => {
  const rules = `use LsyncdAsCode::Paths; print LsyncdAsCode::Paths::rules_text(map { LsyncdAsCode::Paths::rule('-', $_) } split /\\0/, $in)`;
  const left = (names: Buffer[]): string[] => {
    writeFileSync(join(folder, "rules"), perl(rules, joined(names)));
    return planned(["--from0", "--exclude-from=rules"], Buffer.alloc(0));
  };

  it("matches that file: a carriage return or newline in its name starts no other rule", () => {
    const names = ["cr\rbar", "cr\r- bar", "nl\nbar", "nl\n- bar"].map(bytes);
    volumes([...names, bytes("bar")]);
    expect(left(names)).toEqual(["transfer bar"]);
  });

  it("matches no other file: any bytes", () => {
    holds(
      fc.property(fileNames(2, 24), (names) => {
        volumes(names);
        const excluded = names.filter((_, index) => index % 2 === 0);
        const kept = names.filter((_, index) => index % 2 === 1);
        expect(left(excluded)).toEqual(kept.map((name) => `transfer ${latin(name)}`).sort());
      }),
      25,
    );
  });

  it("matches a directory only if its path ends with a slash", () => {
    volumes([bytes("a[b"), bytes("c")]);
    mkdirSync(below("source", bytes("d[e")));
    expect(left([bytes("a[b/"), bytes("d[e/")])).toEqual(["transfer a[b", "transfer c"]);
  });
});
