import { appendFileSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { programs } from "../../tools/torture/settings";
import { histories } from "../support/model";
import { installTime, needPrograms } from "../support/programs";

// A few random histories, and those that once found a fault. test/hosts/sqlite-model.test.ts replays many more.

beforeAll(() => needPrograms("perl", "python3"), installTime);

test("in random histories, the mirror is always a committed state, and the newest in the end", async () => {
  const first = Math.floor(Math.random() * 1e6) + 1e6;
  console.log(`seeds from ${first}`);
  expect(await histories(first, 12)).toEqual({ replayed: 12, faults: [] });
}, 300_000);

// The end of a log that journal_size_limit had truncated was taken for the end of its content.
const seeds = [20037, 20156];
test.each(seeds)("seed %d, which once found a fault", async (seed) => {
  expect(await histories(seed, 1)).toEqual({ replayed: 1, faults: [] });
});

// A copier with a fault, which a history must find: functions that a module has twice, the second time with the fault.
describe("finds a copier that", () => {
  let library: string;
  beforeEach(() => {
    library = mkdtempSync(path.join(tmpdir(), "faulty-copier-"));
    cpSync(path.join(programs, "LsyncdAsCode"), path.join(library, "LsyncdAsCode"), { recursive: true });
  });
  afterEach(() => {
    rmSync(library, { recursive: true, force: true });
  });

  test.each([
    ["takes the place at which a log was truncated for its end", "Wal", "sub ended_before { return 1 }", 20037],
    [
      "copies a database that a crash left in the middle of a transaction",
      "Unit",
      "sub hot_journal { return 0 }",
      7000150,
    ],
    ["loses the mirror's log when it is killed", "Install", "sub absorb { return }", 7000015],
  ])("%s", async (_, module, fault, seed) => {
    appendFileSync(path.join(library, `LsyncdAsCode/${module}.pm`), `\nno warnings;\n${fault}\n1;\n`);
    const { replayed, faults } = await histories(seed, 1, { library });
    expect([replayed, faults]).toEqual([1, [expect.stringContaining(`seed ${seed}: `)]]);
  });
});
