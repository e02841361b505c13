import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "../../toolchain/run";

const root = resolve(__dirname, "../..");

it("`npm run` alone describes each script", async () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: object };
  // Overrides a silent outer npm: a script inherits --silent through the environment.
  const { stdout } = await run("npm", ["run", "--loglevel", "notice"], { cwd: root });
  for (const name of Object.keys(scripts))
    expect(stdout).toMatch(new RegExp(`^  ${name}\\n +node toolchain/bootstrap.mjs '[^']{10,80}'`, "m"));
});
