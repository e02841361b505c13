import { installTime, needPrograms } from "../support/programs";
import { killedAt, paths, stepsOf } from "../support/failover-kills";

// lsyncd-failover, killed at some of its steps; at every one: npm run test:long -- --testPathPatterns failover-killed.

jest.setTimeout(300_000);
beforeAll(() => needPrograms("rsync"), installTime);

// Printed, so that a failed run can be repeated.
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));

it.each(paths.map((path, index) => [`${path.args.join(" ")} (${String(index + 1)})`, path, index] as const))(
  "%s loses nothing",
  async (_, path, index) => {
    const steps = await stepsOf(path);
    for (const turn of [1]) {
      const step = 1 + ((seed + index * 7919 + turn * 104_729) % steps);
      const moment = (seed + turn) % 2 === 0 ? "before" : "after";
      await killedAt(path, step, moment).catch((error: unknown) => {
        throw new Error(
          `SEED=${String(seed)}, killed ${moment} step ${String(step)} of ${String(steps)}: ${(error as Error).message}`,
        );
      });
    }
  },
);
