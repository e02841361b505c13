import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { laidOut, writePage } from "./results";
import { renderPage } from "./sections";

const docs = resolve(__dirname, "../../docs");
const usage = `  npm run bench -- write [--check]

  --check  write nothing, fail when the page or a chart is not what the raw results give`;

/** Writes docs/performance.md and its charts from the raw results. */
export async function main(args: string[]): Promise<number> {
  if (args.some((arg) => arg !== "--check")) {
    console.log(usage);
    return args.includes("--help") ? 0 : 2;
  }
  const { page, charts } = await renderPage(await readFile(join(docs, "performance.md"), "utf8"));
  const files = {
    "performance.md": page,
    ...Object.fromEntries(Object.entries(charts).map(([name, svg]) => [join("performance", name), svg])),
  };
  const stale = [];
  for (const [name, text] of Object.entries(files)) {
    const now = await readFile(join(docs, name), "utf8").catch(() => "");
    if (now === (await laidOut(name, text))) continue;
    stale.push(`docs/${name}`);
    if (args.length === 0) await writePage(name, text);
  }
  if (args.length === 0) console.log(stale.length === 0 ? "nothing to write" : stale.join("\n"));
  else if (stale.length > 0) console.error(`${stale.join(", ")}: not what was measured. Write: npm run bench -- write`);
  return args.length > 0 && stale.length > 0 ? 1 : 0;
}
