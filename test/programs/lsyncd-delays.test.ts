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

const number = (text: string): number => Number(/\d+$/.exec(text)?.[0]);

it("leaves every change, its state and what it blocks as lsyncd by itself does, in random histories", async () => {
  const seed = process.env.DELAYS_SEED ?? String(Date.now() % 1_000_000_000);
  const histories = process.env.DELAYS_HISTORIES ?? "100";
  const said = await lsyncd("histories", true, { SEED: seed, HISTORIES: histories });
  if (said !== `equal after ${Number(histories) * 120} steps`) throw new Error(`DELAYS_SEED=${seed}: ${said}`);
});

it("a change of a file is compared with those of the same file alone, however many wait", async () => {
  // 2,000 files, each made and then written: by itself lsyncd compares each of 4,000 changes with all that wait.
  expect(number(await lsyncd("comparisons", false))).toBeGreaterThan(1_000_000);
  expect(number(await lsyncd("comparisons", true))).toBe(2_000);
});

it("memory does not grow while files keep changing", async () => {
  const [itself, faster] = [number(await lsyncd("memory", false)), number(await lsyncd("memory", true))];
  expect(faster).toBeLessThan(itself / 5);
});
