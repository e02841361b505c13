import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { run } from "../../toolchain/run";
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
