import { parseArgs } from "node:util";
import { prepareTools } from "../../torture/tools";
import { wholeNumbers } from "../options";
import { conditions, readResults, writeResults } from "../results";
import { mirrored } from "./mirrored";
import type { Directories, Many, ManyResults } from "./types";

const usage = `What the mirror of very many small databases costs: the first pass, a start with a complete mirror, and commits.

  npm run bench -- many [--sizes 1000,10000,100000,272000] [--directories 1,256] [--rates 0,40,400] [--seconds 300]

  --sizes        numbers of databases; those that are not named stay as they were measured last
  --directories  1: all in one; 256: spread over so many
  --rates        commits a second, on random databases
  --seconds      how long commits go on at each rate

Before the first pass, and before the \`rsync -a\` that it is compared with, the kernel's caches are dropped.`;

/** Measures on this machine, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      sizes: { type: "string", default: "1000,10000,100000,272000" },
      directories: { type: "string", default: "1,256" },
      rates: { type: "string", default: "0,40,400" },
      seconds: { type: "string", default: "300" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const sizes = wholeNumbers("sizes", values.sizes.split(","));
  const layouts = wholeNumbers("directories", values.directories.split(","));
  const rates = values.rates === "" ? [] : wholeNumbers("rates", values.rates.split(","), 0);
  const [seconds = 300] = wholeNumbers("seconds", [values.seconds]);
  const tools = await prepareTools();
  for (const number of sizes)
    for (const directories of layouts as Directories[]) {
      const found = await mirrored(tools, { number, directories, rates, seconds });
      const known = ((await readResults("many")) as ManyResults | undefined)?.runs ?? [];
      const others = known.filter((one) => one.number !== number || one.directories !== directories);
      const order = (one: Many): number => one.directories * 1e9 + one.number;
      const runs = [...others, { ...found, conditions: await conditions() }].sort((a, b) => order(a) - order(b));
      await writeResults("many", { runs });
    }
  return 0;
}
