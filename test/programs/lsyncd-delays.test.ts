import { join } from "node:path";
import { run } from "../../toolchain/run";
import { programs } from "../../tools/torture/settings";
import { needPrograms } from "../support/programs";

// lsyncd-delays.lua in the real lsyncd of this machine: the same calls of rsync as lsyncd by itself, with less work.
// test/hosts/lsyncd-calls.test.ts has it on a deployed host, where lsyncd logs if it cannot be used.

jest.setTimeout(240_000);
beforeAll(() => needPrograms("lsyncd"));

/** Runs the driver; returns its output. Without `faster`, lsyncd works as it does by itself. */
async function lsyncd(mode: string, faster: boolean, env: Record<string, string> = {}): Promise<string> {
  const more = faster ? { PROGRAM: join(programs, "lsyncd-delays.lua") } : {};
  const driver = join(__dirname, "../support/lsyncd-delays.lua");
  const { stdout } = await run("lsyncd", ["-nodaemon", driver], {
    env: { ...process.env, MODE: mode, ...more, ...env },
  });
  return stdout.trim();
}

/** The cost of a workload of the driver: how often lsyncd looks at a waiting change; in the end, its memory in kB and how many wait. */
interface Cost {
  asked: number;
  memory: number;
  waiting: number;
}

async function costs(workload: string): Promise<Record<"itself" | "faster", Cost>> {
  const cost = async (faster: boolean): Promise<Cost> => {
    const said = await lsyncd("comparisons", faster, { WORKLOAD: workload });
    const [asked = NaN, memory = NaN, waiting = NaN] = said.split(" ").map(Number);
    return { asked, memory, waiting };
  };
  return { itself: await cost(false), faster: await cost(true) };
}

const number = (text: string): number => Number(/\d+$/.exec(text)?.[0]);

it("calls rsync for the same paths at the same moments as lsyncd by itself, in random histories", async () => {
  const seed = process.env.DELAYS_SEED ?? String(Date.now() % 1_000_000_000);
  const histories = process.env.DELAYS_HISTORIES ?? "100";
  const said = await lsyncd("histories", true, { SEED: seed, HISTORIES: histories });
  if (!new RegExp(`^equal after ${Number(histories) * 160} steps and [0-9]+ calls$`).test(said))
    throw new Error(`DELAYS_SEED=${seed}: ${said}`);
});

it.each([
  ["many files, each made and written", "many", 1000],
  ["two files written again and again", "hot", 2],
  ["a database with a rollback journal", "journal", 2],
])("%s: one change of a file waits, and is compared with one other at most", async (_, workload, files) => {
  const { itself, faster } = await costs(workload);
  // For 1,000 rounds of two or three changes.
  expect(itself.asked).toBeGreaterThan(500_000);
  expect(faster.asked).toBeLessThanOrEqual(3000);
  expect(itself.waiting).toBeGreaterThanOrEqual(1999);
  expect(faster.waiting).toBe(files);
  expect(faster.memory).toBeLessThan(itself.memory + 3000);
});

it.each([
  ["a directory made and removed, with a file", "lock"],
  ["files written and their directory touched", "touch"],
])("%s: that costs no more than it does by itself", async (_, workload) => {
  const { itself, faster } = await costs(workload);
  expect(faster.asked).toBeLessThanOrEqual(itself.asked);
  expect(faster.memory).toBeLessThan(itself.memory + 3000);
});

it("memory does not grow while files keep changing", async () => {
  const [itself, faster] = [number(await lsyncd("memory", false)), number(await lsyncd("memory", true))];
  expect(faster).toBeLessThan(itself / 5);
});
