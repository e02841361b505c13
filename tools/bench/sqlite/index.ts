import { parseArgs } from "node:util";
import { prepareTools } from "../../torture/tools";
import { known, wholeNumbers } from "../options";
import { conditions, readResults, writeResults } from "../results";
import { copies } from "./copies";
import { moments } from "./moments";
import { mirrors, type SqliteResults } from "./types";
import { workloads, writers } from "./writers";

const partNames = ["copies", "writers", "moments"] as const;

const usage = `Measures what mirroring databases costs, and whether a mirror that is stopped at a random moment opens.

  npm run bench -- sqlite [--parts ${partNames.join(",")}] [--megabytes 8,64,500] [--runs 3] [--seconds 20] [--samples 100]

  --parts      what to measure; the other parts stay as they were measured last
  --megabytes  sizes of the database that is copied
  --runs       how often each is measured
  --seconds    how long each writer writes
  --samples    moments at which the mirror is stopped and opened`;

/** Measures on this machine, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      parts: { type: "string", default: partNames.join(",") },
      megabytes: { type: "string", default: "8,64,500" },
      runs: { type: "string", default: "3" },
      seconds: { type: "string", default: "20" },
      samples: { type: "string", default: "100" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const wanted = known("part", values.parts.split(","), partNames);
  const one = (option: "runs" | "seconds" | "samples"): number => wholeNumbers(option, [values[option]])[0] ?? 1;
  const [sizes, runs, seconds, samples] = [
    wholeNumbers("megabytes", values.megabytes.split(",")),
    ...[one("runs"), one("seconds"), one("samples")],
  ] as [number[], number, number, number];

  const tools = await prepareTools();
  const keep = async (found: SqliteResults): Promise<void> =>
    writeResults("sqlite", { ...((await readResults("sqlite")) as SqliteResults | undefined), ...found });
  if (wanted.includes("copies")) {
    const found = [];
    for (const megabytes of sizes)
      for (const journal of ["wal", "delete"] as const) found.push(await copies(tools, journal, megabytes, runs));
    await keep({ copies: { conditions: await conditions(), runs: found } });
  }
  if (wanted.includes("writers")) {
    const found = [];
    for (let turn = 0; turn < runs; turn += 1)
      for (const workload of Object.keys(workloads))
        for (const by of mirrors) found.push(await writers(tools, workload, by, seconds));
    await keep({ writers: { conditions: await conditions(), runs: found } });
  }
  if (wanted.includes("moments"))
    await keep({ moments: { conditions: await conditions(), runs: await moments(tools, samples) } });
  return 0;
}
