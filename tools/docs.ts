import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { statusSchema } from "../cli/status/schema";
import { configuration } from "./docs/configuration";

/**
 * `npm run docs`: writes the pages of docs/ that are made out of the program; with `--check` fails when one is stale. From
 * runs on a sandbox host, `--screens` draws the pictures of a terminal and `--samples` writes the samples of alerts.
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
      throw new Error(`${name} is not what the program says now. Write it: npm run docs`);
    }
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
});
