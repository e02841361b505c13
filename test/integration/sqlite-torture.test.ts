import { type Tools, prepareTools } from "../../tools/torture/tools";
import { torture } from "../../tools/torture/torture";
import { writers } from "../../tools/torture/workload";

// Each sample takes two to three seconds, most of it the checks.
const SAMPLES = Number(process.env.TORTURE_SAMPLES ?? "100");
jest.setTimeout((SAMPLES * 8 + 300) * 1000);

let tools: Tools;
beforeAll(async () => {
  tools = await prepareTools();
});

test("at any moment every database in the mirror is intact, committed and recent", async () => {
  const { findings, faults, late } = await torture({
    tools,
    writers: writers(false),
    samples: SAMPLES,
    safe: true,
    kill: false,
  });
  expect(faults).toEqual([]);
  // By the delay that is promised and what the mirror told at that moment, so that a slow machine is no fault.
  expect(late).toEqual([]);
  expect(findings.length).toBeGreaterThan(SAMPLES * 50);
});

test("the same with processes of the mirror being killed", async () => {
  const { faults, kills } = await torture({
    tools,
    writers: writers(false),
    samples: Math.ceil(SAMPLES / 4),
    safe: true,
    kill: true,
  });
  expect(faults).toEqual([]);
  expect(kills.size).toBeGreaterThan(0);
});

test("plain rsync breaks databases, and the test sees it", async () => {
  const { faults } = await torture({ tools, writers: writers(false), samples: 15, safe: false, kill: false });
  expect(faults.length).toBeGreaterThan(0);
});
