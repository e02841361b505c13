import { defaults } from "../../infra/config";
import { roles } from "../../tools/torture/mirror";
import { type Tools, prepareTools } from "../../tools/torture/tools";
import { torture } from "../../tools/torture/torture";
import { writers } from "../../tools/torture/workload";
import { installTime } from "../support/programs";

// The torture test with databases of 500 MB, and with what can happen to a mirror. TORTURE_SAMPLES=1000 takes an hour or two.
const SAMPLES = Number(process.env.TORTURE_SAMPLES ?? "100");
jest.setTimeout((SAMPLES * 20 + 600) * 1000);

let tools: Tools;
beforeAll(async () => {
  tools = await prepareTools();
}, installTime);

test("with two databases of 500 MB, every database in the mirror is intact, committed and recent, and no writer waits long", async () => {
  const { findings, faults, late, latencies } = await torture({
    ...{ tools, writers: writers(true), samples: SAMPLES, safe: true, few: 10 },
  });
  expect(faults).toEqual([]);
  expect(late).toEqual([]);
  expect(findings.length).toBeGreaterThanOrEqual(SAMPLES * 19);
  // Beside the copier's lock a writer waits for processor and disk like everybody who syncs: as long as the slowest of those whose
  // databases are so small that no lock on them lasts.
  const slowest = (name: string): number => latencies.get(name)?.max ?? NaN;
  const wait = Math.max(...["delete", "truncate", "persist", "encrypted", "small"].map(slowest), 1000);
  expect(slowest("big-rollback")).toBeLessThan(1000 * defaults.sqliteLockSeconds + wait);
});

test("the same while every program of the mirror is being killed", async () => {
  const { faults, kills } = await torture({
    ...{ tools, writers: writers(true), samples: Math.ceil(SAMPLES / 2), safe: true, few: 10, disruption: "kill" },
  });
  expect(faults).toEqual([]);
  expect([...kills.keys()].sort()).toEqual([...roles].sort());
});

test("the same with a disk that fills up during copies", async () => {
  const { faults, said } = await torture({
    ...{ tools, writers: writers(false), samples: SAMPLES, safe: true, few: 10, disruption: "full" },
  });
  expect(faults).toEqual([]);
  expect(said.includes("cannot write: No space left on device")).toBe(true);
});

test("the same with a disk that loses its power and all unsynced data at each sample", async () => {
  const { faults, late } = await torture({
    ...{ tools, writers: writers(false), samples: Math.ceil(SAMPLES / 3), safe: true, disruption: "power" },
  });
  expect(faults).toEqual([]);
  expect(late).toEqual([]);
});

test("the same with sqliteSafe false, as documented and with inotifyMode, loses or breaks databases", async () => {
  for (const inotifyMode of ["", "CloseWrite or Modify"]) {
    const { faults, late } = await torture({
      ...{ tools, writers: writers(false), samples: 20, safe: false, few: 10, inotifyMode },
    });
    expect(faults.length + late.length).toBeGreaterThan(0);
  }
});
