import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { run } from "../../toolchain/run";

// test/support/vm-load.py, which judges a mirror after a power cut, must detect each kind of damage.

const program = resolve(__dirname, "../support/vm-load.py");
let folder: string;
const at = (...path: string[]): string => join(folder, ...path);

interface Look {
  databases: number;
  broken: string[];
  files: number;
  foreign: string[];
}
const look = async (): Promise<Look> =>
  JSON.parse((await run("python3", [program, "check", at("source"), at("mirror")])).stdout) as Look;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-load-"));
  await run("bash", [
    "-c",
    `mkdir '${at("source")}'; timeout -s KILL 3 python3 '${program}' run 7 '${at("source")}'; true`,
  ]);
});
beforeEach(() => {
  rmSync(at("mirror"), { recursive: true, force: true });
  cpSync(at("source"), at("mirror"), { recursive: true });
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

it("accepts a copy of an application's files, killed at any moment", async () => {
  const { databases, broken, files, foreign } = await look();
  expect([databases, broken, foreign]).toEqual([12, [], []]);
  expect(files).toBeGreaterThan(20);
});

it("reports a file of the right size with only zeros, or with another file's content, as foreign", async () => {
  const [one, other] = readdirSync(at("mirror/files")).filter(
    (name) => readFileSync(at("mirror/files", name)).length >= 64,
  );
  const zeroed = at("mirror/files", one ?? "");
  writeFileSync(zeroed, Buffer.alloc(readFileSync(zeroed).length));
  writeFileSync(at("mirror/files", other ?? ""), readFileSync(at("source/files", one ?? "")));
  expect((await look()).foreign.sort()).toEqual([
    expect.stringContaining(`files/${String(one)}: only zeros`),
    expect.stringContaining(`files/${String(other)}: a wrong record`),
  ]);
});

it("reports a database without its last pages, or with contradicting tables, as broken", async () => {
  truncateSync(at("mirror/app/delete-full-1.db"), 8192);
  const half =
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('UPDATE state SET rows = rows + 1'); db.commit()";
  await run("python3", ["-c", half, at("mirror/app/wal-full-1.db")]);
  expect((await look()).broken.sort()).toEqual([
    expect.stringContaining("app/delete-full-1.db: "),
    expect.stringContaining("app/wal-full-1.db: state "),
  ]);
});
