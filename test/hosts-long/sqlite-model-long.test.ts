import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { run } from "../../toolchain/run";
import { histories } from "../support/model";
import { installTime, needPrograms } from "../support/programs";

// The same as in test/hosts/sqlite-model.test.ts, for hours, and with other builds of SQLite.

let folder: string;
beforeAll(async () => {
  await needPrograms("perl", "python3", "strace");
  folder = mkdtempSync(path.join(tmpdir(), "sqlite-builds-"));
  await run("python3", ["-m", "venv", folder]);
}, installTime);
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const first = Math.floor(Math.random() * 1e9);

test("100,000 random histories", async () => {
  console.log(`seeds from ${first}`);
  expect(await histories(first, 100_000)).toEqual({ replayed: 100_000, faults: [] });
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
