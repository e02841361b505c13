import { basename } from "node:path";
import { runsOf, type Outcome, type Results, type Row } from "./page";

/** The parts of jest's JSON result that are read here. */
export interface JestResult {
  testResults: {
    /** Path of the file of tests. */
    name: string;
    /** The error if it could not be run, or failed outside of its tests. */
    message: string;
    status: string;
    assertionResults: { fullName: string; status: string }[];
  }[];
}

const nameOf = (path: string): string => basename(path).replace(/\.test\.ts$/, "");

/** The results of each test file that ran, with the rows of the tests that passed. */
export function outcomes(jest: JestResult, rows: Row[], when: Pick<Outcome, "date" | "program">): Results {
  return Object.fromEntries(
    jest.testResults.map(({ name, status, message, assertionResults }) => {
      const named = (wanted: string): string[] =>
        assertionResults.filter((one) => one.status === wanted).map(({ fullName }) => fullName);
      const passed = named("passed");
      const failed = named("failed");
      // Such as one that cannot be loaded
      if (status === "failed" && failed.length === 0) failed.push(message.split("\n")[0] ?? "the file itself");
      const own = rows.filter(({ file, test }) => nameOf(file) === nameOf(name) && passed.includes(test));
      const ownRows = own.map(({ injected, happened, lost }) => ({ injected, happened, lost }));
      return [nameOf(name), { ...when, passed: passed.length, failed, rows: ownRows }];
    }),
  );
}

/** Stored results and those of a run. The run replaces what is stored of the same files, or, with `add`, counts as one more. */
export function together(stored: Results, seen: Results, add: boolean): Results {
  const added = Object.entries(seen).map(([name, outcome]): [string, Outcome] => {
    const earlier = runsOf(stored[name]).map((run) => {
      const { date, program, passed, failed, rows } = run;
      return { date, program, passed, failed, rows };
    });
    return [name, earlier.length > 0 ? { ...outcome, earlier } : outcome];
  });
  return { ...stored, ...(add ? Object.fromEntries(added) : seen) };
}
