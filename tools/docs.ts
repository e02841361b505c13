import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { configuration } from "./docs/configuration";

/** `npm run docs`: writes the pages of docs/ that are made out of the program. */
async function main(): Promise<void> {
  await writeFile(join(__dirname, "..", "docs", "configuration.md"), await configuration());
  console.log("docs/configuration.md");
}

main().catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
});
