import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isOlder } from "../../toolchain/go";
import { COMMAND_VERSION, ENGINE_VERSION, homeOf } from "../../toolchain/home";

const root = join(__dirname, "..", "..");

test("the versions match the installed packages and the Go module of the engine", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  const modules = readFileSync(join(root, "toolchain", "go", "engine", "go.mod"), "utf8");
  expect(ENGINE_VERSION).toBe(manifest.dependencies.pulumi);
  expect(manifest.dependencies["@pulumi/pulumi"]).toBe(ENGINE_VERSION);
  expect(COMMAND_VERSION).toBe(manifest.dependencies["@pulumi/command"]);
  expect(modules).toContain(`github.com/pulumi/pulumi/pkg/v3 v${ENGINE_VERSION}`);
});

test("PULUMI_HOME sets the folder; an empty value counts as unset", () => {
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
])("is Go %s older than %s: %s", (left, right, older) => {
  expect(isOlder(left, right)).toBe(older);
});
