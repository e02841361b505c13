import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../toolchain/run";
import { Mirror } from "../../tools/torture/mirror";
import { prepareTools } from "../../tools/torture/tools";

// A database is renamed under a real lsyncd: at each moment the mirror has it under one of its names.

jest.setTimeout(120_000);

const { PATH = "" } = process.env;
let root: string;
let mirror: Mirror;
const inMirror = (name: string): boolean => existsSync(join(mirror.target, name));

beforeAll(async () => {
  const { lsyncd } = await prepareTools();
  root = mkdtempSync(join(tmpdir(), "lsyncd-as-code-renamed-"));
  // The gate counts the entries of the mirror's file system, and others delete what they have in this one.
  mkdirSync(join(root, "bin"));
  writeFileSync(join(root, "bin/df"), "#!/bin/sh\necho IUsed; echo 1000\n", { mode: 0o755 });
  process.env.PATH = `${join(root, "bin")}:${PATH}`;
  mirror = new Mirror({ lsyncd, root, safe: true });
  await mirror.prepare();
  const make = `import sqlite3, sys
for name, size in ("big", 100_000_000), ("small", 10_000):
  c = sqlite3.connect(f"{sys.argv[1]}/{name}.sqlite")
  c.executescript(f"create table t (x); insert into t values (randomblob({size}))")`;
  await run("python3", ["-c", make, mirror.source]);
  mirror.start();
  await until(() => inMirror("big.sqlite") && inMirror("small.sqlite"));
  await mirror.caughtUp();
});
afterAll(async () => {
  process.env.PATH = PATH;
  await mirror.stop();
  rmSync(root, { recursive: true, force: true });
});

async function until(done: () => boolean): Promise<void> {
  for (let waited = 0; !done(); waited++) {
    if (waited > 6000) throw new Error("not within a minute");
    await sleep(10);
  }
}

test.each([
  ["a big one", "big.sqlite", "renamed.sqlite", 0],
  ["a big one, into a new directory", "renamed.sqlite", "new/big.sqlite", 0],
  ["a small one, into a new directory with a large file", "small.sqlite", "newer/small.sqlite", 300],
])("%s", async (_what, from, to, megabytes) => {
  mkdirSync(dirname(join(mirror.source, to)), { recursive: true });
  const file = join(dirname(join(mirror.source, to)), "large");
  if (megabytes > 0) await run("sh", ["-c", `head -c ${megabytes}M /dev/urandom >'${file}'`]);
  renameSync(join(mirror.source, from), join(mirror.source, to));
  let neither = 0;
  await until(() => {
    // In this order: what becomes its new name between the two looks counts as there.
    const old = inMirror(from);
    const there = inMirror(to);
    if (!old && !there) neither++;
    return there && !old;
  });
  expect(neither).toBe(0);
});
