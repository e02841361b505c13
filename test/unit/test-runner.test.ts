import { count, summary } from "../../tools/test";

const result = {
  numPassedTests: 5,
  numFailedTests: 0,
  numPendingTests: 0,
  numTodoTests: 0,
  numRuntimeErrorTestSuites: 0,
};

it("counts what jest counts", () => {
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

it("counts as failed what only the exit code tells, and a jest that left no result", () => {
  expect(count(result, 1).failed).toBe(1);
  expect(count(undefined, 0).failed).toBe(1);
});

it("says it in one line", () => {
  expect(summary({ passed: 5, failed: 0, skipped: 0 })).toBe("5 passed, 0 failed");
  expect(summary({ passed: 5, failed: 1, skipped: 2 })).toBe("5 passed, 1 failed, 2 skipped");
});
