import { join } from "node:path";
import { parseArgs } from "node:util";
import { Stack } from "../../stack";
import { ensureToolchain } from "../../../toolchain";
import { known, say, wholeNumbers } from "../options";
import { conditions, readResults, writeResults } from "../results";
import { inSandbox } from "../sandbox";
import { burst, byDirectories, bySize, kernelPerWatch, latency, type Place } from "./measure";
import type { HostResults } from "./types";

const parts: Record<keyof HostResults, (place: Place, values: Values) => Promise<Partial<HostResults>>> = {
  sizes: async (place, { files, runs }) => {
    const found = [];
    for (const count of files) found.push(await bySize(place, count, runs));
    return { sizes: { conditions: await conditions(), runs: found } };
  },
  latency: async (place, { samples }) => ({
    latency: { conditions: await conditions(), ...(await latency(place, samples)) },
  }),
  directories: async (place, { directories, runs }) => {
    const found = [];
    for (const count of directories) found.push(await byDirectories(place, count, runs));
    return {
      directories: { conditions: await conditions(), runs: found, kernel: await kernelPerWatch(place.host) },
    };
  },
  burst: async (place, { changes }) => ({
    burst: { conditions: await conditions(), ...(await burst(place, changes)) },
  }),
};

interface Values {
  files: number[];
  directories: number[];
  runs: number;
  samples: number;
  changes: number;
}

const usage = `What the mirror costs on its host.

  npm run bench -- host [--parts ${Object.keys(parts).join(",")}] [--files 10,10000,300000]
                        [--directories 10000,30000,100000] [--samples 60] [--changes 100000] [--runs 5]

  --parts        what to measure; the other parts stay as they were measured last
  --files        sizes of the volume for monitor and preflight
  --directories  numbers of watched directories
  --samples      files whose way to the mirror is measured one by one; five times as many follow under load
  --changes      files that change at once
  --runs         how often what is quick is measured`;

const numbers = (option: string, text: string): number[] => wholeNumbers(option, text.split(","));

/** Measures on one host, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      parts: { type: "string", default: Object.keys(parts).join(",") },
      files: { type: "string", default: "10,10000,300000" },
      directories: { type: "string", default: "10000,30000,100000" },
      samples: { type: "string", default: "60" },
      changes: { type: "string", default: "100000" },
      runs: { type: "string", default: "5" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const wanted = known("part", values.parts.split(","), Object.keys(parts));
  const one = (option: "runs" | "samples" | "changes"): number => numbers(option, values[option])[0] ?? 1;
  const asked: Values = {
    files: numbers("files", values.files),
    directories: numbers("directories", values.directories),
    ...{ runs: one("runs"), samples: one("samples"), changes: one("changes") },
  };

  await ensureToolchain({ say });
  // Sparse: an inode for each 16 KB makes room for half a million files.
  await inSandbox({ hosts: 1, volumeSizeMb: 8192 }, async ({ hosts: [host], directory }) => {
    let stacks = 0;
    const newStack = async (): Promise<Stack> => {
      const stack = await new Stack({ name: "bench", directory: join(directory, String((stacks += 1))) }).init();
      await stack.configure([host], { alertRecipients: "root@localhost.localdomain" });
      return stack;
    };
    for (const [part, measure] of Object.entries(parts)) {
      if (!wanted.includes(part)) continue;
      const found = await measure({ host, newStack, say }, asked);
      await writeResults("host", { ...((await readResults("host")) as HostResults | undefined), ...found });
    }
  });
  return 0;
}
