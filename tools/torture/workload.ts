import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { run } from "../../toolchain/run";

/** One database that a writer keeps busy. */
export interface Database {
  /** Below the source. */
  path: string;
  journal: "wal" | "delete" | "truncate" | "persist" | "memory" | "off";
  megabytes: number;
  page?: number;
  key?: string;
  cipher?: string;
}

/** One writer process. */
export interface Writer {
  name: string;
  databases: Database[];
  /** Seconds between two transactions. */
  interval: number;
  /** Rows rewritten in a transaction. */
  rows: number;
  /** At least 500 MB: checked in some samples only, as that takes long. */
  big?: boolean;
  /** Processes that come, go and crash, change journal modes, vacuum and checkpoint (see writer.py). */
  chaos?: boolean;
}

const one = (name: string, interval: number, database: Database): Writer => ({
  name,
  databases: [database],
  interval,
  rows: 20,
});

/** The writers of the torture test: each journal mode, plain and encrypted, 50 small databases in turn, and big ones. */
export function writers(withBig: boolean): Writer[] {
  const short: Writer[] = [
    one("wal", 0.01, { path: "wal.sqlite", journal: "wal", megabytes: 8 }),
    one("delete", 0.05, { path: "delete.sqlite", journal: "delete", megabytes: 8 }),
    one("truncate", 0.05, { path: "below/truncate.db", journal: "truncate", megabytes: 2, page: 1024 }),
    one("persist", 0.05, { path: "persist.sqlite3", journal: "persist", megabytes: 2, page: 8192 }),
    one("memory", 0.05, { path: "memory.sqlite", journal: "memory", megabytes: 1 }),
    one("off", 0.05, { path: "off.sqlite", journal: "off", megabytes: 1 }),
    one("encrypted-wal", 0.02, { path: "encrypted-wal.sqlite", journal: "wal", megabytes: 4, key: "k" }),
    one("encrypted", 0.05, { path: "encrypted.db", journal: "delete", megabytes: 4, key: "k", cipher: "sqlcipher" }),
    {
      name: "chaos",
      interval: 0.01,
      rows: 5,
      chaos: true,
      databases: [
        { path: "chaos.sqlite", journal: "wal", megabytes: 1 },
        { path: "encrypted-chaos.sqlite", journal: "wal", megabytes: 1, key: "k" },
      ],
    },
    one("header", 0.02, { path: "mail/box one", journal: "wal", megabytes: 1 }),
    {
      name: "small",
      interval: 0.002,
      rows: 3,
      databases: Array.from({ length: 50 }, (_, i) => ({
        path: `small/${i % 5}/${i}.sqlite`,
        journal: i % 2 === 0 ? ("wal" as const) : ("delete" as const),
        megabytes: 0.2,
      })),
    },
  ];
  const big: Writer[] = [
    { ...one("big", 0.01, { path: "big.sqlite", journal: "wal", megabytes: 500 }), big: true },
    { ...one("big-rollback", 0.2, { path: "big-rollback.sqlite", journal: "delete", megabytes: 500 }), big: true },
  ];
  return withBig ? [...short, ...big] : short;
}

/** Commit latencies of a writer, in milliseconds. */
export interface Latencies {
  transactions: number;
  p50: number;
  p99: number;
  max: number;
  /** Bytes of the pages that the transactions wrote. */
  committed: number;
}

/** The file in which a writer records its commits. */
export function commitsOf(source: string, writer: Writer): string {
  return path.join(source, "..", "latencies", `${writer.name}.commits`);
}

/** Starts the writers in a source directory and waits until each has filled its databases. */
export async function startWriters(
  python: string,
  source: string,
  list: Writer[],
): Promise<() => Promise<Map<string, Latencies>>> {
  const results = path.join(source, "..", "latencies");
  mkdirSync(results, { recursive: true });
  const children: ChildProcess[] = [];
  for (const writer of list) {
    const databases = writer.databases.map((database) => ({
      ...database,
      name: database.path,
      path: path.join(source, database.path),
    }));
    for (const database of databases) mkdirSync(path.dirname(database.path), { recursive: true });
    const spec = { ...writer, databases, result: path.join(results, writer.name), commits: commitsOf(source, writer) };
    const child = spawn(python, [path.join(__dirname, "writer.py"), JSON.stringify(spec)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
  }
  await Promise.all(
    children.map(
      (child, i) =>
        new Promise<void>((resolve, reject) => {
          child.stdout?.once("data", () => {
            resolve();
          });
          child.once("exit", () => {
            reject(new Error(`the writer ${list[i]?.name ?? ""} ended before it had begun`));
          });
        }),
    ),
  );
  return async () => {
    await Promise.all(
      children.map(
        (child) =>
          new Promise((resolve) => {
            if (child.exitCode !== null) resolve(undefined);
            child.once("exit", resolve);
            child.kill("SIGTERM");
          }),
      ),
    );
    return new Map(
      list.map((writer) => [
        writer.name,
        JSON.parse(readFileSync(path.join(results, writer.name), "utf8")) as Latencies,
      ]),
    );
  };
}

/** The findings in one copied database. `age` in seconds, from the newest commit in it to the freeze. */
export interface Finding {
  path: string;
  fault: string | null;
  age?: number;
  n?: number;
  /** Seconds since the first commit that it lacked at the freeze, and the permitted lag according to the mirror's own reports. */
  behind?: number;
  allowed?: number;
}

/** Checks a frozen copy of a mirror: integrity, and that each database is a state its writer committed. */
export async function check(python: string, copy: string, list: Writer[], frozen: number): Promise<Finding[]> {
  const databases = list
    .flatMap((writer) => writer.databases)
    .map((database) => ({ ...database, path: path.join(copy, database.path) }));
  const { stdout } = await run(python, ["-B", path.join(__dirname, "check.py"), JSON.stringify({ databases, frozen })]);
  return (JSON.parse(stdout) as Finding[]).map((finding) => ({ ...finding, path: path.relative(copy, finding.path) }));
}
