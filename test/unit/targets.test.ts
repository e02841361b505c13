import { engineArguments } from "../../cli/become/arguments";
import { isMeant } from "../../infra/targets";

afterEach(() => {
  delete process.env.LSYNCD_TARGETS;
});

it("`npm run up` reads the --target patterns", () => {
  expect(engineArguments(["up", "--target", "a", "--yes", "-t=b", "--target-dependents"]).targets).toEqual(["a", "b"]);
  expect(engineArguments(["up", "--yes"]).targets).toEqual([]);
});

it("without --target, every host is selected", () => {
  expect(isMeant("sqlite-1", "prod")).toBe(true);
});

it.each([
  ["**Mirror::sqlite-1", true],
  ["**::sqlite-1", true],
  ["urn:pulumi:prod::lsyncd::lsyncd:index:Mirror::sqlite-1", true],
  ["**Mirror::sqlite-*", true],
  ["**", true],
  ["*", false],
  ["**Mirror::sqlite-10", false],
  ["**Mirror::sqlite-2", false],
  ["**Mirror::sqlite.1", false],
])("with --target %s, sqlite-1 is selected: %s", (pattern, meant) => {
  process.env.LSYNCD_TARGETS = JSON.stringify(["**Mirror::other", pattern]);
  expect(isMeant("sqlite-1", "prod")).toBe(meant);
});
