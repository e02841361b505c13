import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
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
  const page = join(__dirname, "..", "docs", "configuration.md");
  const text = await configuration();
  if (!args.includes("--check")) {
    await writeFile(page, text);
    console.log("docs/configuration.md");
  } else if ((await readFile(page, "utf8")) !== text) {
    throw new Error("docs/configuration.md is not what the settings are now. Write it: npm run docs");
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
});
