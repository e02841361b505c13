import { join } from "node:path";
import { run } from "../../toolchain/run";
import { programs } from "../../tools/torture/settings";
import { needPrograms } from "../support/programs";

// lsyncd-delays.lua in the real lsyncd of this machine: the same changes in the same order as lsyncd by itself, with less work.
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

/** The cost of a workload of the driver: how often lsyncd looks at a waiting change, and its memory in the end, in kB. */
async function costs(workload: string): Promise<Record<"itself" | "faster", { asked: number; memory: number }>> {
  const cost = async (faster: boolean): Promise<{ asked: number; memory: number }> => {
    const said = await lsyncd("comparisons", faster, { WORKLOAD: workload });
    const [asked = NaN, memory = NaN] = said.split(" ").map(Number);
    return { asked, memory };
  };
  return { itself: await cost(false), faster: await cost(true) };
}

const number = (text: string): number => Number(/\d+$/.exec(text)?.[0]);

it("leaves every change, its state and what it blocks as lsyncd by itself does, in random histories", async () => {
  const seed = process.env.DELAYS_SEED ?? String(Date.now() % 1_000_000_000);
  const histories = process.env.DELAYS_HISTORIES ?? "100";
  const said = await lsyncd("histories", true, { SEED: seed, HISTORIES: histories });
  if (said !== `equal after ${Number(histories) * 120} steps`) throw new Error(`DELAYS_SEED=${seed}: ${said}`);
});

it.each([
  ["many files, each made and written", "many"],
  ["two files written again and again", "hot"],
  ["a database with a rollback journal", "journal"],
])("%s: a change is compared with one other at most, however many wait", async (_, workload) => {
  const { itself, faster } = await costs(workload);
  // For 1,000 rounds of two or three changes.
  expect(itself.asked).toBeGreaterThan(500_000);
  expect(faster.asked).toBeLessThanOrEqual(3000);
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
