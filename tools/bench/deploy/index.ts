import { parseArgs } from "node:util";
import { ensureToolchain } from "../../../toolchain";
import { known, list, say, throughWords, wholeNumbers } from "../options";
import { conditions, readResults, writeResults } from "../results";
import { inSandbox } from "../sandbox";
import { contenders } from "./contenders";
import { watchSshd } from "./hosts";
import { race } from "./race";
import { merge } from "./sessions";
import { works, type DeployResults } from "./types";

const usage = `Deploys to the same sandbox hosts with this program and with others, in turn.

  npm run bench -- deploy [--hosts 1,4,8,16] [--rtt 0,50] [--runs 3] [--works ${works.join(",")}]
                          [--tools ${Object.keys(contenders).join(",")}]
                          [--through COMMAND]

  --hosts    numbers of hosts
  --rtt      milliseconds of a round trip to a host
  --runs     rounds of each; each round runs all tools
  --works    what to measure; a first deployment is always made
  --tools    which tools to measure
  --through  each measured command is run through this one, such as "flock /run/quiet" on a machine that others use

Results are stored after each number of hosts, with those of earlier runs: a new measurement of a part replaces the earlier one.
Write the page from them: npm run bench -- write`;

/** Measures the tools, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      hosts: { type: "string", default: "1,4,8,16" },
      rtt: { type: "string", default: "0,50" },
      runs: { type: "string", default: "3" },
      works: { type: "string", default: works.join(",") },
      tools: { type: "string", default: Object.keys(contenders).join(",") },
      through: { type: "string", default: "" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const counts = wholeNumbers("hosts", list(values.hosts));
  const distances = wholeNumbers("rtt", list(values.rtt), 0);
  const [rounds = 1] = wholeNumbers("runs", list(values.runs));
  const tools = known("tool", list(values.tools), Object.keys(contenders));
  const wanted = known("work", list(values.works), works);
  const through = throughWords(values.through);

  await ensureToolchain({ say });
  await inSandbox({ hosts: Math.max(...counts), volumeSizeMb: 64 }, async (sandbox) => {
    await Promise.all(sandbox.hosts.map(watchSshd));
    const versions = Object.fromEntries(tools.map((tool) => [tool, contenders[tool]?.version ?? ""]));
    for (const rtt of distances) {
      for (const count of counts) {
        const hosts = sandbox.hosts.slice(0, count);
        const samples = await race({ tools, hosts, rtt, rounds, works: wanted, through, say });
        const before = (await readResults("deploy")) as DeployResults | undefined;
        await writeResults("deploy", merge(before, { conditions: await conditions(), versions, samples }));
      }
    }
  });
  return 0;
}
