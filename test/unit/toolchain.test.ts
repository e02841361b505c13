import { isOlder } from "../../tools/toolchain/go";
import { COMMAND_VERSION, ENGINE_VERSION, homeOf } from "../../tools/toolchain/home";
import manifest from "../../package.json";

test("the versions are those of the packages the program uses", () => {
  expect(ENGINE_VERSION).toBe(manifest.devDependencies.pulumi);
  expect(COMMAND_VERSION).toBe(manifest.dependencies["@pulumi/command"]);
});

test("PULUMI_HOME says where everything is; empty counts as unset", () => {
  expect(homeOf({ PULUMI_HOME: "/somewhere" }).engine).toBe(`/somewhere/versions/${ENGINE_VERSION}`);
  expect(homeOf({ PULUMI_HOME: "" })).toEqual(homeOf({}));
  expect(homeOf({}).commandPlugin).toMatch(new RegExp(`/\\.pulumi/plugins/resource-command-v${COMMAND_VERSION}$`));
});

test.each([
  ["1.19.8", "1.25.11", true],
  ["1.25.10", "1.25.11", true],
  ["1.25", "1.25.11", true],
  ["1.25.11", "1.25.11", false],
  ["1.26.0", "1.25.11", false],
  ["1.26rc1", "1.25.11", false],
  ["2.0", "1.25.11", false],
])("is go %s older than %s: %s", (left, right, older) => {
  expect(isOlder(left, right)).toBe(older);
});
