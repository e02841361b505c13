import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { statusSchema } from "../cli/status/schema";
import { configuration } from "./docs/configuration";

/**
 * `npm run docs`: writes the generated pages in docs/; with `--check`, fails if one is out of date. `--screens` draws the
 * terminal pictures and `--samples` writes the sample alerts, both from runs on a sandbox host.
 */
async function main(args: string[]): Promise<void> {
  if (args.includes("--screens")) {
    // Loaded late: the pages need no sandbox.
    const { drawScreens } = require("./docs/screens") as typeof import("./docs/screens");
    return drawScreens();
  }
  if (args.includes("--samples")) {
    const { writeSamples } = require("./docs/samples") as typeof import("./docs/samples");
    return writeSamples();
  }
  const pages = {
    "docs/configuration.md": await configuration(),
    "docs/status.schema.json": `${JSON.stringify(statusSchema(), null, 2)}\n`,
  };
  for (const [name, text] of Object.entries(pages)) {
    const page = join(__dirname, "..", name);
    if (!args.includes("--check")) {
      await writeFile(page, text);
      console.log(name);
    } else if ((await readFile(page, "utf8")) !== text) {
      throw new Error(`${name} is out of date. Update it: npm run docs`);
    }
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
});
