import { histories } from "../support/model";
import { installTime, needPrograms } from "../support/programs";

beforeAll(() => needPrograms("perl", "python3"), installTime);

test("in 1,000 random histories, the mirror is always a committed state, and the newest in the end", async () => {
  const first = Math.floor(Math.random() * 1e9);
  console.log(`seeds from ${first}`);
  expect(await histories(first, 1000)).toEqual({ replayed: 1000, faults: [] });
}, 3_600_000);
