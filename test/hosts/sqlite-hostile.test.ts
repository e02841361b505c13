import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { programs } from "../../tools/torture/settings";
import { run } from "../../toolchain/run";
import {
  copierModules,
  create,
  end,
  events,
  fullPass,
  hold,
  idle,
  insert,
  root,
  rows,
  source,
  sql,
  state,
  status,
  target,
  useCopier,
  verify,
} from "../support/copier";

// Unexpected treatment of databases and of the copier that occurs in practice.
jest.setTimeout(600_000);
useCopier();

/** Runs Perl code with the copier's library loaded; `$source` and `$target` are the volumes. */
async function perl(lines: string): Promise<string> {
  const script = `use POSIX; use Fcntl; my ($source, $target) = @ARGV; my %o = %{ options() };
    sub copy { sync_unit(directory($source), directory($target), $_[0], \\%o) } ${lines}`;
  return (await run("perl", [...copierModules, "-e", script, source, target])).stdout.trim();
}

/** Waits for a state of a mirrored database that the copier reaches by retrying. */
async function eventually(name: string, expected: string): Promise<void> {
  for (let i = 0; i < 100 && (await rows(name).catch(() => "")) !== expected; i += 1) await sleep(100);
  expect([await rows(name), status()]).toEqual([expected, expect.anything()]);
}

/** Interrupts the copier at each of its steps, in each kind of copy, alone or as one of many. */
async function cutShort(
  how: "kill" | "power",
  batch: "" | "batch",
): Promise<Record<string, { moments: number; fault: string | null }>> {
  const script = path.join(__dirname, "../support/crash.py");
  const { stdout } = await run("python3", ["-B", script, programs, root, how, batch]);
  return JSON.parse(stdout) as Record<string, { moments: number; fault: string | null }>;
}

describe("the copier is interrupted at each step", () => {
  it.each([
    ["a kill -9", "kill", ""],
    ["a power cut", "power", ""],
    ["a kill -9 in a batch", "kill", "batch"],
    ["a power cut in a batch", "power", "batch"],
  ] as const)(
    "by %s: every database opens, in a committed state that is no older than before",
    async (_, how, batch) => {
      const results = await cutShort(how, batch);
      expect(Object.entries(results).filter(([, { fault }]) => fault !== null)).toEqual([]);
      expect(Object.keys(results).length).toBeGreaterThan(16);
      for (const { moments } of Object.values(results)) expect(moments).toBeGreaterThan(0);
    },
  );
});

describe("locks", () => {
  it("the copier's: SQLite's own, at SQLite's bytes, released when the process ends", async () => {
    const file = path.join(source, "a.sqlite");
    await sql(file, create, insert(10));
    const holder = run("perl", [
      ...copierModules,
      "-e",
      `open(my $h, "<", $ARGV[0]) or die; lock_shared($h, 1) or die "no lock";
       open(my $mark, ">", "$ARGV[0].locked"); close $mark; sleep 4; kill KILL => $$`,
      file,
    ]).catch(() => undefined);
    while (!existsSync(`${file}.locked`)) await sleep(50);
    // A reader does not notice, a writer waits for its turn at the commit.
    expect(await sql(file, "pragma busy_timeout = 0", "select count(*) from t")).toBe("0\n10");
    await expect(sql(file, "pragma busy_timeout = 0", insert(1))).rejects.toThrow(/locked/);
    await holder;
    expect(await sql(file, "pragma busy_timeout = 0", insert(1), "select count(*) from t")).toBe("0\n11");
  });

  it("a connection in exclusive mode: the mirror keeps the last copy and reports the database as locked", async () => {
    for (const mode of ["delete", "wal"]) {
      const file = path.join(source, `${mode}.sqlite`);
      await sql(file, create, insert(10));
      await fullPass();
      await eventually(`${mode}.sqlite`, "ok\n10");
      const exclusive = await hold(file, "pragma locking_mode = exclusive", `pragma journal_mode = ${mode}`, insert(5));
      try {
        await events(`/${mode}.sqlite`, `/${mode}.sqlite-wal`);
        expect(status()).toMatch(new RegExp(`\\tlocked\\t${mode}.sqlite\\t`));
        expect(await rows(`${mode}.sqlite`)).toBe("ok\n10");
      } finally {
        await end(exclusive);
      }
      await sql(file, insert(1));
      await events(`/${mode}.sqlite`, `/${mode}.sqlite-wal`);
      await eventually(`${mode}.sqlite`, "ok\n16");
    }
  });

  it("the copier's: neither a checkpoint nor a writer of a WAL database waits", async () => {
    const file = path.join(source, "a.sqlite");
    const open = await hold(file, "pragma journal_mode = wal", create, insert(1000));
    try {
      // The copy is stopped in its middle, with its locks held.
      const result =
        await perl(`replace copy_sparse => sub { my $copy = shift; system 'touch', "$source/reached"; select undef, undef, undef, 0.1 until -e "$source/go"; $copy->(@_) };
        if (!fork) { select undef, undef, undef, 0.1 until -e "$source/reached";
          system 'python3', '-c', q{import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for i in range(20): c.execute("insert into t values (1, 1)")
print(c.execute("pragma wal_checkpoint(passive)").fetchone()[0], c.execute("select count(*) from t").fetchone()[0], flush=True)}, "$source/a.sqlite";
          system 'touch', "$source/go"; POSIX::_exit(0) }
        my $done = copy('a.sqlite'); wait; print $done->{state};`);
      // SQLite reports 1 for a checkpoint while another one runs: busy, the next one does it.
      expect(result).toBe("1 1020\ncopied");
      expect(await rows("a.sqlite")).toBe("ok\n1020");
    } finally {
      await end(open);
    }
  });

  it("a long checkpoint: other databases are still copied", async () => {
    const file = path.join(source, "a.sqlite");
    const open = await hold(file, "pragma journal_mode = wal", create, insert(10));
    try {
      // Byte 121 of -shm, as a checkpoint locks it.
      const spent =
        await perl(`open(my $shm, "+<", "$source/a.sqlite-shm") or die; my $l = flock_struct(F_WRLCK, 121, 1);
        $| = 1; fcntl($shm, F_SETLK, $l) or die; if (!fork) { my $t = time; my $done = copy('a.sqlite'); print "$done->{why} ", time - $t < 2 ? "soon" : "late"; POSIX::_exit(0) } wait; print "\\n";`);
      expect(spent).toBe("locked soon");
    } finally {
      await end(open);
    }
  });
});

describe("files that change in unusual ways", () => {
  it("a second write within the same clock tick is not missed", async () => {
    const file = path.join(source, "a.sqlite");
    await sql(file, create, insert(100));
    // A clock with a coarse tick: the file was written now, is copied, and written again with the same size and time.
    const time = await perl(`my $s = now_ns(); set_mtime("$source/a.sqlite", $s);
      print copy('a.sqlite')->{state}, " $s"`);
    expect(time).toMatch(/^copied /);
    await sql(file, "update t set b = zeroblob(500) where i = 7");
    await perl(`set_mtime("$source/a.sqlite", ${time.split(" ")[1]})`);
    await events("/a.sqlite");
    expect(readFileSync(path.join(target, "a.sqlite")).equals(readFileSync(file))).toBe(true);
  });

  it("a big one is copied again after a second write, on a file system with timestamps of whole seconds", async () => {
    const file = path.join(source, "a.sqlite");
    await sql(file, create, insert(100));
    // The second write comes while the copy is made without a lock, within the second of the first.
    const result =
      await perl(`$o{big} = 1; my $second = int(time) * 1_000_000_000; set_mtime("$source/a.sqlite", $second);
      
      replace copy_sparse => sub { my $copy = shift; my @r = $copy->(@_);
        open(my $h, "+<", "$source/a.sqlite") or die; seek $h, -100, 2; print {$h} "x" x 100; close $h;
        set_mtime("$source/a.sqlite", $second); return @r ? $r[0] : undef };
      print copy('a.sqlite')->{state}`);
    expect(result).toBe("copied");
    expect(readFileSync(path.join(target, "a.sqlite")).equals(readFileSync(file))).toBe(true);
  });

  it("one is replaced by another during its copy: the mirror gets one of them, then the other", async () => {
    const [file, other] = ["a.sqlite", "b.new"].map((name) => path.join(source, name)) as [string, string];
    await sql(file, create, insert(100));
    await sql(other, create, insert(40));
    const result = await perl(`
      replace copy_sparse => sub { my $copy = shift; my @r = $copy->(@_); rename "$source/b.new", "$source/a.sqlite"; return @r ? $r[0] : undef };
      print copy('a.sqlite')->{state}`);
    expect(result).toBe("deferred");
    expect(existsSync(path.join(target, "a.sqlite"))).toBe(false);
    await events("/a.sqlite");
    expect(await rows("a.sqlite")).toBe("ok\n40");
  });

  it("one changes to WAL mode and is written during its copy", async () => {
    const file = path.join(source, "a.sqlite");
    await sql(file, create, insert(100));
    const result = await perl(`my $once;
      replace copy_sparse => sub { my $copy = shift; my @r = $copy->(@_);
        system 'python3', '-c', q{import sqlite3, sys, os
c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute("pragma busy_timeout = 100")
try: c.execute("pragma journal_mode = wal"); c.execute("insert into t values (1, 1)")
except Exception as e: print(e, flush=True)
os._exit(0)}, "$source/a.sqlite" unless $once++; return @r ? $r[0] : undef };
      print copy('a.sqlite')->{state}`);
    // The change of mode needs the lock that the copier holds, as any reader does.
    expect(result).toBe("database is locked\ncopied");
    expect(await rows("a.sqlite")).toBe("ok\n100");
    await sql(file, "pragma journal_mode = wal", insert(5));
    await events("/a.sqlite", "/a.sqlite-wal");
    expect(await rows("a.sqlite")).toBe("ok\n105");
  });

  it("one is truncated to nothing, or is no longer a database", async () => {
    const file = path.join(source, "a.sqlite");
    const open = await hold(file, "pragma journal_mode = wal", create, insert(100));
    await fullPass();
    await end(open);
    for (const suffix of ["-wal", "-shm"]) rmSync(file + suffix, { force: true });
    truncateSync(file, 0);
    await events("/a.sqlite", "/a.sqlite-wal");
    expect(statSync(path.join(target, "a.sqlite")).size).toBe(0);
    expect(existsSync(path.join(target, "a.sqlite-wal"))).toBe(false);
    writeFileSync(file, "text");
    await events("/a.sqlite");
    expect(readFileSync(path.join(target, "a.sqlite"), "utf8")).toBe("text");
  });
});

describe("names", () => {
  it("one name becomes a database, a directory and a link in turn", async () => {
    const file = path.join(source, "x.db");
    const other = path.join(target, "x.db");
    for (let round = 0; round < 2; round += 1) {
      const pass = (...names: string[]): Promise<unknown> => (round === 0 ? fullPass() : events(...names));
      const open = await hold(file, "pragma journal_mode = wal", create, insert(20));
      await pass("/x.db", "/x.db-wal");
      await end(open);
      expect(await rows("x.db")).toBe("ok\n20");
      for (const suffix of ["", "-wal", "-shm"]) rmSync(file + suffix, { force: true });
      mkdirSync(file);
      await sql(path.join(file, "inner.db"), create, insert(3));
      writeFileSync(path.join(file, "text"), "in it");
      await pass("/x.db", "/x.db-wal", "/x.db/", "/x.db/inner.db", "/x.db/text");
      expect(lstatSync(other).isDirectory()).toBe(true);
      // It waits a few seconds when the worker comes to it before the directory is there.
      await eventually("x.db/inner.db", "ok\n3");
      // The -wal beside it is the gate's to delete (programs/gate-worker), which is not asked here.
      rmSync(file, { recursive: true });
      await sql(file, create, insert(30));
      await pass("/x.db/***", "/x.db");
      await eventually("x.db", "ok\n30");
      rmSync(file);
      mkdirSync(path.join(file, "below"), { recursive: true });
      writeFileSync(path.join(file, "below/text"), "in it");
      await pass("/x.db", "/x.db/", "/x.db/below/", "/x.db/below/text");
      expect(readFileSync(path.join(other, "below/text"), "utf8")).toBe("in it");
      rmSync(file, { recursive: true });
      await pass("/x.db/***");
      expect(existsSync(other)).toBe(false);
      await sql(path.join(source, "real.sqlite"), create, insert(7));
      symlinkSync("real.sqlite", file);
      await pass("/x.db", "/real.sqlite");
      expect(lstatSync(other).isSymbolicLink()).toBe(true);
      expect(await rows("x.db")).toBe("ok\n7");
      rmSync(file);
      rmSync(path.join(source, "real.sqlite"));
      await pass("/x.db", "/real.sqlite");
      expect(existsSync(other)).toBe(false);
    }
  });

  it("two hard links of one file are both mirrored", async () => {
    await sql(path.join(source, "a.sqlite"), create, insert(50));
    linkSync(path.join(source, "a.sqlite"), path.join(source, "b.sqlite"));
    await fullPass();
    for (const name of ["a.sqlite", "b.sqlite"]) expect(await rows(name)).toBe("ok\n50");
    await sql(path.join(source, "b.sqlite"), insert(5));
    await events("/a.sqlite", "/b.sqlite");
    for (const name of ["a.sqlite", "b.sqlite"]) expect(await rows(name)).toBe("ok\n55");
  });

  it("a database is moved, with or without its -wal, while the mirror has a -wal for each name", async () => {
    const [a, b] = ["a.sqlite", "b.sqlite"].map((name) => path.join(source, name)) as [string, string];
    const open = await Promise.all([
      hold(a, "pragma journal_mode = wal", create, insert(30)),
      hold(b, "pragma journal_mode = wal", create, insert(60)),
    ]);
    await fullPass();
    await Promise.all(open.map(end));
    for (const suffix of ["-wal", "-shm"]) rmSync(b + suffix, { force: true });
    // Both with the files that a crash left.
    for (const suffix of ["", "-wal", "-shm"]) if (existsSync(a + suffix)) renameSync(a + suffix, b + suffix);
    await events("/a.sqlite", "/a.sqlite-wal", "/a.sqlite-shm", "/b.sqlite", "/b.sqlite-wal", "/b.sqlite-shm");
    expect(await rows("b.sqlite")).toBe("ok\n30");
    for (const suffix of ["", "-wal", "-shm"]) expect(existsSync(path.join(target, `a.sqlite${suffix}`))).toBe(false);
  });
});

describe("a journal of a transaction over two databases", () => {
  it("left by a crash: the mirror keeps the last copies of both until the application has opened them", async () => {
    const [a, b] = ["a.sqlite", "b.sqlite"].map((name) => path.join(source, name)) as [string, string];
    for (const file of [a, b]) await sql(file, create, insert(100));
    await fullPass();
    const writer = await hold(
      a,
      `attach '${b}' as other`,
      "pragma main.cache_size = 2",
      "pragma other.cache_size = 2",
      "begin",
      "update main.t set b = randomblob(500)",
      "update other.t set b = randomblob(500)",
    );
    await end(writer);
    await events("/a.sqlite", "/a.sqlite-journal", "/b.sqlite", "/b.sqlite-journal");
    for (const name of ["a.sqlite", "b.sqlite"]) {
      expect(status()).toMatch(new RegExp(`\\thot\\t${name}\\t`));
      expect(await rows(name)).toBe("ok\n100");
    }
    for (const file of [a, b]) await sql(file, "select count(*) from t", insert(1));
    await events("/a.sqlite", "/b.sqlite");
    for (const name of ["a.sqlite", "b.sqlite"]) expect(await rows(name)).toBe("ok\n101");
  });
});

describe("a volume that is unmounted", () => {
  it("during a call: the copier does not write to the volume mounted there since", async () => {
    await sql(path.join(source, "a.sqlite"), create, insert(10));
    await fullPass();
    await sql(path.join(source, "a.sqlite"), insert(1));
    // As rsync-wrapper: it holds the directories, whose paths lead elsewhere by now.
    renameSync(source, `${source}.away`);
    mkdirSync(source);
    process.env.LSYNCD_ROOTS = `${source}.away/\n${target}/\n`;
    try {
      await events("/a.sqlite");
      await sleep(1000);
    } finally {
      delete process.env.LSYNCD_ROOTS;
    }
    expect(await rows("a.sqlite")).toMatch(/^ok\n1[01]$/);
    expect(readFileSync(path.join(state, "queue"), "utf8")).toContain("a.sqlite");
    expect(status()).toMatch(/\terror\ta\.sqlite\t.*is not the directory that lsyncd was started with/);
    rmSync(source, { recursive: true });
    renameSync(`${source}.away`, source);
  });

  it("during lsyncd-verify: it gives the reason in one line instead of reporting every file as missing", async () => {
    await sql(path.join(source, "a.sqlite"), create, insert(10));
    await fullPass();
    writeFileSync(
      path.join(root, "guard"),
      "#!/bin/sh\necho 'lsyncd-guard: the source volume is not mounted' >&2; exit 1\n",
    );
    renameSync(source, `${source}.away`);
    mkdirSync(source);
    const { code, stdout, stderr } = await verify();
    expect({ code, stdout, stderr }).toEqual({
      code: 2,
      stdout: "",
      stderr: "lsyncd-verify: nothing was compared: the source volume is not mounted\n",
    });
    expect(existsSync(path.join(state, "verify.tsv"))).toBe(false);
    rmSync(source, { recursive: true });
    renameSync(`${source}.away`, source);
  });
});

describe("verification", () => {
  it("finishes with a big database that is appended to continuously", async () => {
    const file = path.join(source, "a.sqlite");
    const open = await hold(file, "pragma journal_mode = wal", create, insert(500));
    try {
      await fullPass();
      // Each time the main file was read, the mirror's -wal has grown.
      const answer =
        await perl(`replace copy_sparse => sub { my $copy = shift; my @r = $copy->(@_); open(my $w, ">>", "$target/a.sqlite-wal"); syswrite $w, "x" x 10; close $w; $r[0] };
        print image(directory($target), 'a.sqlite', "$target/.lsyncd-rsync.image")`);
      expect(answer).toBe("1");
    } finally {
      await end(open);
    }
  });
});

describe("the queue", () => {
  beforeEach(async () => {
    for (const name of ["a", "b"]) await sql(path.join(source, `${name}.sqlite`), create, insert(1));
    await fullPass();
    await idle();
  });

  it("reads the next record completely after a power cut truncated the last one", async () => {
    writeFileSync(path.join(state, "queue"), "\u000012.345 a.sql");
    await sql(path.join(source, "b.sqlite"), insert(1));
    await events("/b.sqlite");
    await eventually("b.sqlite", "ok\n2");
  });

  it("keeps no part of a record that does not fit on the disk, and the call is repeated", async () => {
    const queue = path.join(state, "queue");
    const before = `\u0000${"1.000 a.sqlite\u0000".repeat(272)}`.padEnd(4090, "\u0000");
    writeFileSync(queue, before);
    // The largest size of a file that the shell allows, 4 KiB, stands for a disk without room.
    const text = `$SIG{XFSZ} = "IGNORE"; eval { enqueue("queue", 12, ["b.sqlite", "a.sqlite"]); 1 } or print $@`;
    const command = ["-c", 'ulimit -f 4; exec perl "$@"', "bash", ...copierModules, "-e", text];
    const { stdout } = await run("bash", command, { env: process.env });
    expect(stdout).toBe("cannot write the queue: there is no room for all of it\n");
    expect(readFileSync(queue, "utf8")).toBe(before);
  });
});
