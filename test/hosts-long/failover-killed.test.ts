import { killedAt, paths, stepsOf } from "../support/failover-kills";

// lsyncd-failover, killed before and after every program it runs, on every path through its states.

jest.setTimeout(3_600_000);

describe.each(paths.map((path, index) => [`${path.args.join(" ")} (${String(index + 1)})`, path] as const))(
  "%s",
  (_, path) => {
    it.each(["before", "after"] as const)("killed %s each of its steps, loses nothing", async (moment) => {
      const steps = await stepsOf(path);
      expect(steps).toBeGreaterThan(5);
      for (let step = 1; step <= steps; step += 1) await killedAt(path, step, moment);
    });
  },
);
