import { readdirSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { outcomes, together } from "../../tools/reliability/outcome";
import { chapters, reliabilityPage } from "../../tools/reliability/page";
import { run } from "../../toolchain/run";

const root = resolve(__dirname, "../..");
const when = { date: "2026-11-25", program: "01234567/89abcdef" };

it("the page has a row for each fault in its chapter, and names files lost and tests that did not run", () => {
  const page = reliabilityPage({
    takeover: { ...when, passed: 2, failed: [], rows: [{ injected: "a | b", happened: "c", lost: 0 }] },
    "faults-files": {
      ...when,
      passed: 1,
      failed: ["a test"],
      rows: [{ injected: "full", happened: "healed", lost: 2 }],
    },
  });
  expect(page).toContain("| a \\| b | c | nothing |");
  expect(page).toContain("| full | healed | 2 files |");
  expect(page.indexOf("full")).toBeLessThan(page.indexOf("a \\| b"));
  expect(page).toContain("(../test/hosts/takeover.test.ts): 2 tests passed (2026-11-25, 01234567/89abcdef).");
  expect(page).toContain("(../test/hosts/faults-files.test.ts): 1 test passed, **failed: a test** (");
  expect(page).toContain("[operator](../test/hosts-long/operator.test.ts): not run.");
});

it("a row is included only if its test passed, and a file that cannot be loaded counts as failed", () => {
  const row = { file: "takeover.test.ts", injected: "x", happened: "y", lost: 0 };
  const assertionResults = [
    { fullName: "good", status: "passed" },
    { fullName: "bad", status: "failed" },
  ];
  const testResults = [
    { name: "/x/takeover.test.ts", message: "", status: "failed", assertionResults },
    { name: "/x/operator.test.ts", message: "cannot be loaded\nat", status: "failed", assertionResults: [] },
  ];
  const rows = [
    { ...row, test: "good" },
    { ...row, test: "bad" },
  ];
  expect(outcomes({ testResults }, rows, when)).toEqual({
    takeover: { ...when, passed: 1, failed: ["bad"], rows: [{ injected: "x", happened: "y", lost: 0 }] },
    operator: { ...when, passed: 0, failed: ["cannot be loaded"], rows: [] },
  });
});

it("a further run is added to the stored ones, or replaces them", () => {
  const run = (injected: string) => ({ ...when, passed: 1, failed: [], rows: [{ injected, happened: "b", lost: 0 }] });
  const stored = { vm: run("first"), takeover: run("other") };
  const added = together(together(stored, { vm: run("second") }, true), { vm: run("third") }, true);
  const page = reliabilityPage(added);
  expect(page).toMatch(/first[^]*second[^]*third/);
  const one = "1 test passed (2026-11-25, 01234567/89abcdef)";
  expect(page).toContain(`(../test/hosts-long/vm.test.ts): ${one}; ${one}; ${one}.`);
  expect(page).toContain("other");
  expect(together(added, { vm: run("fourth") }, false)).toEqual({ ...stored, vm: run("fourth") });
});

it("the page includes every test that writes rows", () => {
  const writing = ["test/hosts", "test/hosts-long"]
    .flatMap((folder) => readdirSync(resolve(root, folder)).map((name) => join(root, folder, name)))
    .filter((path) => path.endsWith(".test.ts"))
    // Those on virtual machines have their tests, and so their rows, in a file that they share.
    .filter((path) =>
      /{[^}]*\brow\b[^}]*} from "..\/support\/faults"|from "..\/support\/vm-/.test(readFileSync(path, "utf8")),
    )
    .map((path) => basename(path, ".test.ts"));
  expect(chapters.flatMap(({ files }) => files).sort()).toEqual(writing.sort());
});

it("docs/reliability.md matches the recorded results", async () => {
  // In a process of its own: prettier, which lays the tables out, cannot be loaded into jest's.
  const args = ["--import", "tsx", "tools/reliability.ts", "--check"];
  const { code, stderr } = await run(process.execPath, args, { cwd: root, allowFailure: true });
  expect([code, stderr]).toEqual([0, ""]);
}, 60_000);
