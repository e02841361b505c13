import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "../../toolchain/run";

const root = resolve(__dirname, "../..");

it("`npm run` alone says of each script what it is for", async () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: object };
  // Out loud, also below an npm that is silent: a script hands its own --silent on in the environment.
  const { stdout } = await run("npm", ["run", "--loglevel", "notice"], { cwd: root });
  for (const name of Object.keys(scripts))
    expect(stdout).toMatch(new RegExp(`^  ${name}\\n +node toolchain/bootstrap.mjs '[^']{10,80}'`, "m"));
});
