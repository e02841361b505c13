import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import path from "node:path";
import { defaults } from "../../infra/config";
import { plainRsyncOptions, supportedRsyncOptions } from "../../infra/rsync-options";
import {
  call,
  create,
  insert,
  root,
  rows,
  settings,
  settled,
  source,
  sql,
  target,
  tree,
  useCopier,
} from "../support/copier";
import { readRecording, recording, type RecordedCall } from "../support/lsyncd-calls";

// The calls of a real lsyncd, as record-lsyncd.sh recorded them (test/hosts/lsyncd-calls.test.ts records them again): what each of
// them costs rsync. The test fails when one of them takes a longer way than it must.
jest.setTimeout(300_000);
useCopier();

const calls = new Map(readRecording(recording).map((one) => [one.step, one]));

function recordedCall(step: string): RecordedCall {
  const recorded = calls.get(step);
  if (!recorded) throw new Error(`nothing was recorded for: ${step}`);
  return recorded;
}

/** Replays the call of a step, with more options. Returns what rsync was run for: "plan", "root", or the names it was given. */
const pass = (step: string, ...more: string[]): Promise<string[]> => replay(recordedCall(step), ...more);

async function replay(recorded: RecordedCall, ...more: string[]): Promise<string[]> {
  const { step } = recorded;
  const log = path.join(root, "rsync.log");
  rmSync(log, { force: true });
  const { code } = await call([...recorded.options, ...more, `${source}/`, `${target}/`], recorded.paths.join("\0"));
  expect([step, code]).toEqual([step, 0]);
  await settled();
  return existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
}

beforeEach(async () => {
  const rsyncProgram = path.join(root, "rsync");
  const log = path.join(root, "rsync.log");
  // The names are logged before rsync gets them.
  const script = `#!/bin/bash
input=$(mktemp '${root}/names.XXXX')
cat >"$input"
case " $* " in
  *' --dry-run '*) echo plan >>'${log}' ;;
  *' --dirs --exclude=* '*) echo root >>'${log}' ;;
  *' --files-from=- '*) tr '\\0' '\\n' <"$input" >>'${log}' ;;
  *) echo "everything: $*" >>'${log}' ;;
esac
rsync "$@" <"$input"
`;
  writeFileSync(rsyncProgram, script, { mode: 0o755 });
  await settings({ rsyncProgram });
});

describe("a commit and another file, with an option of the mirror", () => {
  const step = "a commit and another file";
  const values: Record<string, string> = {
    ...{ "--block-size=": "4096", "--bwlimit=": "100M", "--checksum-choice=": "md5", "--checksum-seed=": "7" },
    ...{ "--max-alloc=": "512M", "--temp-dir=": "/tmp", "--timeout=": "60" },
  };
  const supported = supportedRsyncOptions.map((name) => name + (values[name] ?? ""));

  /** The cost of that change when lsyncd passes these options as well. */
  const cost = async (...options: string[]): Promise<string[]> => {
    const plainOptions = plainRsyncOptions([...defaults.rsyncOptions, ...options]);
    await settings({ rsyncProgram: path.join(root, "rsync"), plainOptions });
    await sql(path.join(source, "a.sqlite"), create, insert(3));
    writeFileSync(path.join(source, "mail [1].eml"), "x");
    const done = await pass(step, ...options);
    expect(await rows("a.sqlite")).toBe("ok\n3");
    expect(readFileSync(path.join(target, "mail [1].eml"), "utf8")).toBe("x");
    return done;
  };

  const plain = plainRsyncOptions(supported);
  it("that selects no files: rsync is not asked", async () => {
    expect(plain.length).toBeGreaterThan(20);
    // All of them, but of those that say when to delete.
    expect(await cost(...plain.filter((option) => !/^--delete-(before|during|delay)$/.test(option)))).toEqual([
      "mail [1].eml",
    ]);
  });

  it.each(supported.filter((option) => !plain.includes(option)))("%s: rsync is asked", async (option) => {
    expect((await cost(option))[0]).toBe("plan");
  });
});

test("where the times of directories are mirrored, rsync gets the root alone, without its contents", async () => {
  await pass("start");
  const times = async (step: string): Promise<string[]> => {
    const recorded = recordedCall(step);
    const options = recorded.options.filter((option) => option !== "--omit-dir-times");
    expect(options).toHaveLength(recorded.options.length - 1);
    return replay({ ...recorded, options });
  };
  await sql(path.join(source, "a.sqlite"), create, insert(3));
  utimesSync(source, 1e9, 1e9);
  expect(await times("a new database")).toEqual(["root"]);
  expect(await rows("a.sqlite")).toBe("ok\n3");
  await sql(path.join(source, "a.sqlite"), insert(1));
  utimesSync(source, 1.1e9, 1.1e9);
  expect(await times("a commit with a rollback journal")).toEqual(["root"]);
  expect(await rows("a.sqlite")).toBe("ok\n4");
});

test("each change takes the fewest calls of rsync", async () => {
  const file = (name: string): string => path.join(source, name);
  const cost: Record<string, string[]> = {};
  const change = async (step: string, work: () => unknown): Promise<void> => {
    await work();
    cost[step] = await pass(step);
  };
  writeFileSync(file("text"), "there from the beginning");
  await change("start", () => undefined);
  await change("a new database", () => sql(file("a.sqlite"), create, insert(3)));
  await change("a commit with a rollback journal", () => sql(file("a.sqlite"), insert(1)));
  expect(await rows("a.sqlite")).toBe("ok\n4");
  await change("a database turns to WAL mode", () => sql(file("a.sqlite"), "pragma journal_mode = wal", insert(1)));
  await change("a commit in WAL mode", () => sql(file("a.sqlite"), insert(1)));
  expect(await rows("a.sqlite")).toBe("ok\n6");
  await change("the probe of the monitor", () => {
    writeFileSync(file(".lsyncd-monitor-probe"), "x");
  });
  expect(readFileSync(path.join(target, ".lsyncd-monitor-probe"), "utf8")).toBe("x");
  await change("the probe goes", () => {
    rmSync(file(".lsyncd-monitor-probe"));
  });
  expect(existsSync(path.join(target, ".lsyncd-monitor-probe"))).toBe(false);
  await change("a commit and another file", async () => {
    await sql(file("a.sqlite"), insert(1));
    writeFileSync(file("mail [1].eml"), "x");
  });
  expect(await rows("a.sqlite")).toBe("ok\n7");
  await change("a new directory with a database", async () => {
    mkdirSync(file("d/e"), { recursive: true });
    await sql(file("d/e/b.db"), create, insert(3));
  });
  expect(await rows("d/e/b.db")).toBe("ok\n3");
  await change("a commit in a directory", () => sql(file("d/e/b.db"), insert(1)));
  expect(await rows("d/e/b.db")).toBe("ok\n4");
  await change("a database is deleted", () => {
    rmSync(file("d/e/b.db"));
  });
  expect(tree(target)).not.toContain("d/e/b.db");
  await change("a database is renamed", async () => {
    await sql(file("a.sqlite"), "pragma journal_mode = delete");
    renameSync(file("a.sqlite"), file("z.sqlite"));
  });
  expect(await rows("z.sqlite")).toBe("ok\n7");
  await change("a directory is deleted", () => {
    rmSync(file("d"), { recursive: true });
  });
  expect(tree(target).filter((name) => !name.startsWith(".lsyncd-as-code"))).toEqual([
    "mail [1].eml",
    "text",
    "z.sqlite",
  ]);

  expect(cost).toEqual({
    start: ["plan", "text"],
    "a new database": [],
    "a commit with a rollback journal": [],
    "a database turns to WAL mode": [],
    "a commit in WAL mode": [],
    "the probe of the monitor": [".lsyncd-monitor-probe"],
    "the probe goes": [".lsyncd-monitor-probe"],
    "a commit and another file": ["mail [1].eml"],
    "a new directory with a database": ["d", "d/e"],
    "a commit in a directory": [],
    "a database is deleted": [],
    "a database is renamed": [],
    "a directory is deleted": ["plan", "d"],
  });
});
