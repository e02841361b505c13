import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { count, summary } from "../../tools/test";

const root = resolve(__dirname, "../..");
const SlowestFirst = createRequire(__filename)(join(root, "tools/test-sequencer.cjs")) as {
  new (): { sort: (tests: unknown[]) => { path: string }[] };
  slowest: string[];
};

const result = {
  numPassedTests: 5,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  numRuntimeErrorTestSuites: 0,
};

it("counts the same tests as jest", () => {
  expect(count({ ...result, numFailedTests: 2, numPendingTests: 3, numTodoTests: 1 }, 1)).toEqual({
    passed: 5,
    failed: 2,
    skipped: 4,
  });
  expect(count(result, 0)).toEqual({ passed: 5, failed: 0, skipped: 0 });
});

it("counts a file that cannot be loaded as failed", () => {
  expect(count({ ...result, numRuntimeErrorTestSuites: 1 }, 1).failed).toBe(1);
});

it("counts a failure that only the exit code shows, and a jest run without a result", () => {
  expect(count(result, 1).failed).toBe(1);
  expect(count(undefined, 0).failed).toBe(1);
});

it("prints the summary in one line", () => {
  expect(summary({ passed: 5, failed: 0, skipped: 0 })).toBe("5 passed, 0 failed");
  expect(summary({ passed: 5, failed: 1, skipped: 2 })).toBe("5 passed, 1 failed, 2 skipped");
});

describe("the order of files", () => {
  const test = (path: string): unknown => ({
    path,
    context: { config: { id: "x", cacheDirectory: "/nonexistent" }, hasteFS: { getSize: () => 1 } },
  });

  it("begins with the slowest, the slowest of them first, and names no file that is not there", () => {
    const { slowest } = SlowestFirst;
    const paths = ["settings", ...slowest.toReversed()].map((name) => join(root, "test/hosts", `${name}.test.ts`));
    const sorted = new SlowestFirst().sort(paths.map(test)).map(({ path }) => path);
    expect(sorted).toEqual([...slowest, "settings"].map((name) => join(root, "test/hosts", `${name}.test.ts`)));
    const there = (name: string): boolean =>
      ["hosts", "programs"].some((folder) => existsSync(join(root, "test", folder, `${name}.test.ts`)));
    expect(slowest.filter((name) => !there(name))).toEqual([]);
  });
});
