import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { isRoot } from "../../toolchain/privilege";
import { run } from "../../toolchain/run";
import { quote } from "../../tools/sandbox";
import { onDebian13 } from "../support/debian13";
import { histories, note, noted, seedsOf } from "../support/model";
import { installTime, needPrograms } from "../support/programs";

// The same as in test/hosts/sqlite-model.test.ts, for hours, and with other builds of SQLite. Runs add up as long as neither the copier nor
// the model changes: `MODEL_HISTORIES=5000` replays so many, from MODEL_SEED on or, without it, from where the last one ended.

let folder: string;
beforeAll(async () => {
  await needPrograms("perl", "python3");
  folder = mkdtempSync(path.join(tmpdir(), "sqlite-builds-"));
  await run("python3", ["-m", "venv", folder]);
}, installTime);
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const many = Number(process.env.MODEL_HISTORIES ?? 100_000);
const last = noted().at(-1);
const next = last ? last.first + last.count : Math.floor(Math.random() * 1e9);
const first = Number(process.env.MODEL_SEED ?? next);
/** The number of histories between two records: a run that is ended loses no more. */
const PIECE = 1000;

test("100,000 random histories, in one run or several", async () => {
  for (let done = 0; done < many; done += PIECE) {
    const piece = { first: first + done, count: Math.min(PIECE, many - done) };
    expect(await histories(piece.first, piece.count)).toEqual({ replayed: piece.count, faults: [] });
    note(piece);
  }
  console.log(`seeds ${first} to ${first + many - 1}; ${seedsOf(noted())} histories of this copier so far`);
}, 86_400_000);

test.each([
  ["a current build", "pysqlite3-binary", { MODEL_SQLITE: "pysqlite3.dbapi2" }],
  ["SQLCipher", "sqlcipher3-binary", { MODEL_SQLITE: "sqlcipher3.dbapi2", MODEL_KEY: "secret" }],
])(
  "1,000 with %s",
  async (_, wheel, env) => {
    await run(path.join(folder, "bin/pip"), ["install", "--quiet", wheel]);
    const python = path.join(folder, "bin/python");
    expect(await histories(first, 1000, { python, env })).toEqual({ replayed: 1000, faults: [] });
  },
  7_200_000,
);

/** Writes a program that is Python on Debian 13, where the paths of this repository are below /mnt. */
async function pythonOfDebian13(): Promise<string> {
  const repository = path.resolve(__dirname, "../..");
  const words = [...(isRoot() ? [] : ["sudo", "-n"]), ...(await onDebian13(repository, "python3"))];
  const program = path.join(folder, "python-of-debian-13");
  const text = `#!/bin/bash
root=${quote(repository)}
exec ${words.map((word) => quote(word)).join(" ")} "\${@/#$root//mnt}"
`;
  writeFileSync(program, text, { mode: 0o755 });
  return program;
}

test("1,000 with the SQLite and the Perl of Debian 13", async () => {
  const python = await pythonOfDebian13();
  const { stdout } = await run(python, ["-c", "import sqlite3; print(sqlite3.sqlite_version)"]);
  expect(stdout).toMatch(/^3\.46\./);
  expect(await histories(first, 1000, { python })).toEqual({ replayed: 1000, faults: [] });
}, 7_200_000);
