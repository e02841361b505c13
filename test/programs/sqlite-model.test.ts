import { histories } from "../support/model";
import { installTime, needPrograms } from "../support/programs";

// A few random histories, and those that once found a fault. test/hosts/sqlite-model.test.ts replays many more.

beforeAll(() => needPrograms("perl", "python3", "strace"), installTime);

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
