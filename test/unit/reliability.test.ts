import { reliabilityPage } from "../../tools/reliability";

it("the page has a row for each fault, under its chapter, and says what was lost", () => {
  const page = reliabilityPage([
    { file: "takeover.test.ts", injected: "a | b", happened: "c", lost: 0 },
    { file: "faults-files.test.ts", injected: "full", happened: "healed", lost: 2 },
  ]);
  expect(page).toContain("| a \\| b | c | nothing |");
  expect(page).toContain("| full | healed | 2 files |");
  expect(page.indexOf("full")).toBeLessThan(page.indexOf("a \\| b"));
  expect(page).not.toContain("## Deployments that");
});
