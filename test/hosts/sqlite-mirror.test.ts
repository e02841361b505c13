import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../toolchain/run";
import {
  OPTIONS,
  call,
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
  settings,
  settled,
  source,
  sql,
  state,
  status,
  target,
  tree,
  useCopier,
  verify,
} from "../support/copier";

jest.setTimeout(120_000);
useCopier();

test("copies databases and other files in the first pass, and again after changes", async () => {
  const file = path.join(source, "a.sqlite");
  await sql(file, create, insert(100));
  mkdirSync(path.join(source, "d"));
  writeFileSync(path.join(source, "d/text.txt"), "hello");
  expect((await fullPass()).code).toBe(0);
  expect(readFileSync(path.join(target, "d/text.txt"), "utf8")).toBe("hello");
  expect(await rows("a.sqlite")).toBe("ok\n100");
  await sql(file, insert(50));
  expect((await events("/a.sqlite")).code).toBe(0);
  expect(await rows("a.sqlite")).toBe("ok\n150");
  expect(tree(target)).toEqual(tree(source));
});

test("follows a WAL database by its -wal alone, through restarts of the log, while it stays open", async () => {
  const file = path.join(source, "a.sqlite");
  const open = await hold(file, "pragma journal_mode = wal", create, insert(100), "pragma wal_checkpoint(passive)");
  try {
    await fullPass();
    expect(await rows("a.sqlite")).toBe("ok\n100");
    await sql(file, insert(10));
    await events("/a.sqlite-wal");
    const inode = statSync(path.join(target, "a.sqlite")).ino;
    for (let i = 2; i < 7; i++) {
      // The log is checkpointed and restarted between the second and the third pass, without a call in between.
      await sql(file, insert(10), ...(i === 4 ? ["pragma wal_checkpoint(passive)"] : []));
      await events("/a.sqlite", "/a.sqlite-wal");
      expect(await rows("a.sqlite")).toBe(`ok\n${100 + i * 10}`);
    }
    expect(statSync(path.join(target, "a.sqlite")).ino).toBe(inode);
  } finally {
    await end(open);
  }
});

test("the first pass copies no database that is being written, whatever its name", async () => {
  const names = ["a.sqlite", "no suffix"];
  for (const name of names) await sql(path.join(source, name), create, insert(2000));
  // A cache of 2 pages makes the transaction write the main file before it ends.
  const writing = ["pragma cache_size = 2", "begin exclusive", "update t set b = randomblob(500)"];
  const writers = await Promise.all(names.map((name) => hold(path.join(source, name), ...writing)));
  writeFileSync(path.join(source, "other"), "goes on");
  expect((await fullPass()).code).toBe(0);
  expect(tree(target)).toEqual(["other"]);
  await Promise.all(writers.map(end));
  for (const name of names) await sql(path.join(source, name), "select count(*) from t");
  await fullPass();
  for (const name of names) expect(await rows(name)).toBe("ok\n2000");
});

test("never writes to the source, whatever files a crash left there", async () => {
  const file = (name: string): string => path.join(source, name);
  await sql(file("wal.sqlite"), "pragma journal_mode = wal", "pragma wal_autocheckpoint = 0", create, insert(100));
  rmSync(`${file("wal.sqlite")}-shm`);
  await sql(file("hot.sqlite"), create, insert(2000));
  await end(await hold(file("hot.sqlite"), "pragma cache_size = 2", "begin", "update t set b = randomblob(500)"));
  await sql(file("plain.db"), create, insert(100));
  const listing = (): string[] =>
    ["", ...tree(source)].map((name) => {
      const { ino, size, mtimeNs, ctimeNs } = lstatSync(file(name), { bigint: true });
      return [name, ino, size, mtimeNs, ctimeNs].join(" ");
    });
  const before = listing();
  await fullPass();
  await events("/wal.sqlite", "/wal.sqlite-wal", "/hot.sqlite", "/plain.db");
  await verify("--full", "--checksum");
  expect(listing()).toEqual(before);
  expect(await rows("wal.sqlite")).toBe("ok\n100");
});

test("continuous changes cost no call of rsync, and other changes are not missed", async () => {
  const log = path.join(root, "rsync.log");
  const rsyncProgram = path.join(root, "rsync");
  writeFileSync(rsyncProgram, `#!/bin/sh\necho call >>${log}\nexec /usr/bin/rsync "$@"\n`, { mode: 0o755 });
  await settings({ rsyncProgram });
  const calls = (): number => (existsSync(log) ? readFileSync(log, "utf8").split("\n").length - 1 : 0);
  const file = path.join(source, "d/e/a.sqlite");
  mkdirSync(path.join(source, "d/e"), { recursive: true });
  for (const name of ["d/e/a.sqlite", "no suffix"]) await sql(path.join(source, name), create, insert(100));
  await fullPass();
  const before = calls();
  expect(before).toBeGreaterThan(0);
  for (const name of ["d/e/a.sqlite", "no suffix"]) {
    await sql(path.join(source, name), insert(1));
    await events(`/${name}`, `/${name}-journal`);
    expect(await rows(name)).toBe("ok\n101");
  }
  expect(calls()).toBe(before);

  // Beside it an ordinary file, a database that is new, one that is gone, and a directory with another owner.
  await sql(file, insert(1));
  writeFileSync(path.join(source, "d/text"), "hello");
  await sql(path.join(source, "d/new.sqlite"), create, insert(5));
  await events("/d/e/a.sqlite", "/d/text", "/d/new.sqlite");
  expect(calls()).toBeGreaterThan(before);
  expect(readFileSync(path.join(target, "d/text"), "utf8")).toBe("hello");
  expect([await rows("d/e/a.sqlite"), await rows("d/new.sqlite")]).toEqual(["ok\n102", "ok\n5"]);
  await sql(file, insert(1));
  rmSync(path.join(source, "d/new.sqlite"));
  await events("/d/e/a.sqlite", "/d/new.sqlite");
  expect(await rows("d/e/a.sqlite")).toBe("ok\n103");
  expect(tree(target)).toEqual(tree(source));
  await sql(file, insert(1));
  chownSync(path.join(source, "d"), 12, 34);
  await events("/d/e/a.sqlite");
  expect(await rows("d/e/a.sqlite")).toBe("ok\n104");
  expect(statSync(path.join(target, "d"))).toMatchObject({ uid: 12, gid: 34 });
});

test("does not copy a database that an rsync filter excludes", async () => {
  const file = path.join(source, "a.sqlite");
  await sql(file, create, insert(100));
  await fullPass();
  await sql(file, insert(1));
  const filters = ["--force", "--from0", "--exclude=/a.sqlite", "--include-from=-", "--exclude=*"];
  const list = ["/", "/a.sqlite"].join("\0");
  await call([...OPTIONS, "-r", "--delete", "--ignore-errors", ...filters, `${source}/`, `${target}/`], list);
  await settled();
  expect(await rows("a.sqlite")).toBe("ok\n100");
  await events("/a.sqlite");
  expect(await rows("a.sqlite")).toBe("ok\n101");
});

test("mirrors the committed content of a WAL without -shm, as after a power cut", async () => {
  const file = path.join(source, "a.sqlite");
  await sql(file, "pragma journal_mode = wal", "pragma wal_autocheckpoint = 0", create, insert(100));
  rmSync(`${file}-shm`);
  await fullPass();
  expect(await rows("a.sqlite")).toBe("ok\n100");
  expect(existsSync(`${file}-shm`)).toBe(false);
});

test("while a writer holds the lock, the last copy stays, is reported as behind, and is replaced without a new event", async () => {
  const file = path.join(source, "a.sqlite");
  await sql(file, create, insert(100));
  await fullPass();
  await sql(file, insert(1));
  const writer = await hold(file, "begin exclusive", insert(10));
  try {
    expect((await events("/a.sqlite")).code).toBe(0);
    expect(await rows("a.sqlite")).toBe("ok\n100");
    expect(status()).toMatch(/\tlocked\ta\.sqlite\t/);
    writeFileSync(path.join(source, "other"), "goes on");
    await events("/other");
    expect(readFileSync(path.join(target, "other"), "utf8")).toBe("goes on");
  } finally {
    await end(writer);
  }
  rmSync(`${file}-journal`, { force: true });
  await sleep(3000);
  expect(await rows("a.sqlite")).toBe("ok\n101");
  expect(status()).toMatch(/pending\t0/);
});

test("a hot journal: the last committed copy stays until the application rolls it back", async () => {
  const file = path.join(source, "a.sqlite");
  await sql(file, create, insert(100));
  await fullPass();
  // A cache of 2 pages makes the transaction write the main file before it ends.
  const writer = await hold(file, "pragma cache_size = 2", "begin", "update t set b = randomblob(500)");
  await end(writer);
  expect(statSync(`${file}-journal`).size).toBeGreaterThan(0);
  await events("/a.sqlite", "/a.sqlite-journal");
  expect(status()).toMatch(/\thot\ta\.sqlite\t/);
  expect(await rows("a.sqlite")).toBe("ok\n100");
  expect(existsSync(path.join(target, "a.sqlite-journal"))).toBe(false);
  await sql(file, "select count(*) from t", insert(1));
  await events("/a.sqlite");
  expect(await rows("a.sqlite")).toBe("ok\n101");
});

test("deletes and renames files and whole directories", async () => {
  mkdirSync(path.join(source, "d/e"), { recursive: true });
  for (const name of ["a.sqlite", "d/b.db", "d/e/c.sqlite3"]) await sql(path.join(source, name), create, insert(10));
  await fullPass();
  expect(tree(target)).toEqual(tree(source));
  renameSync(path.join(source, "a.sqlite"), path.join(source, "z.sqlite"));
  await events("/a.sqlite", "/z.sqlite");
  expect(tree(target)).toEqual(tree(source));
  rmSync(path.join(source, "d"), { recursive: true });
  await events("/d/***");
  expect(tree(target)).toEqual(["z.sqlite"]);
  mkdirSync(path.join(source, "f/g"), { recursive: true });
  await sql(path.join(source, "f/g/x.db"), create);
  await fullPass();
  rmSync(path.join(source, "f"), { recursive: true });
  await fullPass();
  expect(tree(target)).toEqual(["z.sqlite"]);
});

test("copies names and file types that only look like databases as ordinary files", async () => {
  writeFileSync(path.join(source, "notes.db"), "no database");
  writeFileSync(path.join(source, "x.txt-wal"), "no WAL");
  mkdirSync(path.join(source, "dir.db"));
  writeFileSync(path.join(source, "dir.db/file"), "in it");
  symlinkSync("notes.db", path.join(source, "current.db"));
  await sql(path.join(source, "odd [name]*?\\ \n'é.sqlite"), create, insert(5));
  await sql(path.join(source, "no suffix\nat all"), "pragma journal_mode = wal", create, insert(5));
  expect((await fullPass()).code).toBe(0);
  expect(tree(target)).toEqual(tree(source).filter((name) => !name.endsWith("-shm")));
  expect(readFileSync(path.join(target, "notes.db"), "utf8")).toBe("no database");
  expect(readlinkSync(path.join(target, "current.db"))).toBe("notes.db");
  expect(lstatSync(path.join(target, "dir.db")).isDirectory()).toBe(true);
  expect(await rows("odd [name]*?\\ \n'é.sqlite")).toBe("ok\n5");
  expect(await rows("no suffix\nat all")).toBe("ok\n5");
});

test("does not follow a link out of the tree", async () => {
  mkdirSync(path.join(root, "outside"));
  mkdirSync(path.join(source, "d"));
  await sql(path.join(source, "d/a.sqlite"), create);
  rmSync(path.join(target, "d"), { recursive: true, force: true });
  symlinkSync(path.join(root, "outside"), path.join(target, "d"));
  writeFileSync(path.join(root, "outside/a.sqlite"), "precious");
  await call([...OPTIONS, "-r", "--exclude=/d/", `${source}/`, `${target}/`]);
  await events("/d/a.sqlite");
  expect(readFileSync(path.join(root, "outside/a.sqlite"), "utf8")).toBe("precious");
});

test("does not trust what plain rsync left in the mirror", async () => {
  const file = path.join(source, "a.sqlite");
  const open = await hold(file, "pragma journal_mode = wal", create, insert(100), "pragma wal_checkpoint", insert(5));
  try {
    await run("cp", ["-a", `${source}/.`, target]);
    // A main file and a -wal of the same generation, as rsync copies them one after the other, but damaged.
    writeFileSync(path.join(target, "a.sqlite"), Buffer.alloc(8192), { flag: "r+" });
    await sql(file, insert(1));
    await fullPass();
    expect(await rows("a.sqlite")).toBe("ok\n106");
  } finally {
    await end(open);
  }
});

test("deletes nothing if the source is gone", async () => {
  await sql(path.join(source, "a.sqlite"), create, insert(3));
  await fullPass();
  await idle();
  renameSync(source, `${source}.away`);
  expect((await events("/a.sqlite")).code).not.toBe(0);
  mkdirSync(source);
  // Another directory in its place, like an empty mount point: the earlier queue is not processed.
  writeFileSync(path.join(state, "queue"), "1.000 a.sqlite\0");
  await call(["--resume"]);
  await sleep(1500);
  expect(await rows("a.sqlite")).toBe("ok\n3");
});

test("does not treat a directory that cannot be opened as deleted", async () => {
  mkdirSync(path.join(source, "there"));
  // The process has no file descriptor left, one of the errors that have nothing to do with the directory.
  const { stdout } = await run("perl", [
    ...copierModules,
    "-e",
    `my ($root, @open) = @ARGV;
     sub try_it { my ($path, $id) = @_; my $h = eval { open_beneath($root, $path, $id) };
       print $@ ? "error" : $h ? "open" : "gone", "\n" }
     try_it("there"); try_it("elsewhere"); try_it("there", "0:0");
     while (open my $h, "<", "/dev/null") { push @open, $h }
     pop @open; try_it("there"); pop @open for 1 .. 9; $root = "$root/none"; try_it("");`,
    source,
  ]);
  expect(stdout.trim().split("\n")).toEqual(["open", "gone", "error", "error", "error"]);
});

test("lsyncd-verify runs at the lowest priority", async () => {
  const priority = path.join(root, "priority");
  writeFileSync(path.join(root, "guard"), `#!/bin/sh\n{ nice; ionice -p $$; } >${priority}\n`);
  await verify();
  expect(readFileSync(priority, "utf8")).toBe("19\nidle\n");
});

test("lsyncd-verify distinguishes an intact mirror from a damaged one, and reads only what it must", async () => {
  await sql(path.join(source, "a.sqlite"), create, insert(200));
  for (const name of ["opaque.db", "sealed.db"]) writeFileSync(path.join(source, name), "x".repeat(5000));
  await fullPass();
  const sound = await verify("--checksum", "--full");
  expect(sound.stdout).toBe("3 files, 3 databases: 0 faults, 0 not checked\n");
  expect(sound.code).toBe(0);
  expect(readFileSync(path.join(state, "verify.tsv"), "utf8")).toMatch(
    /^finished\t\d+\tfiles\t3\tdatabases\t3\tfaults\t0\t/,
  );
  writeFileSync(path.join(target, "a.sqlite"), Buffer.alloc(8192, 255), { flag: "r+" });
  rmSync(path.join(target, "opaque.db"));
  // As an encrypted one: nobody can open it, so its pages are compared.
  writeFileSync(path.join(target, "sealed.db"), `${"x".repeat(4999)}y`);
  writeFileSync(path.join(target, "extra"), "");
  const broken = await verify("--max-age", "0.1");
  expect(broken.code).toBe(1);
  for (const name of ["a.sqlite", "opaque.db", "extra"]) expect(broken.stdout).toContain(`FAULT ${name}: `);
  expect(broken.stdout).toMatch(
    /^FAULT sealed\.db: encrypted or not a database, compared by content: differs from the source/m,
  );
  expect(tree(target)).toEqual(["a.sqlite", "extra", "sealed.db"]);
});
