import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureToolchain } from "../../../toolchain";
import { Stack } from "../../stack";
import { measured } from "../measured";
import { list, say, wholeNumbers } from "../options";
import { conditions, writeResults } from "../results";
import { answeringHosts } from "./hosts";
import { works, type HundredResults, type Operation } from "./section";

const usage = `What many hosts cost the machine that deploys: time, memory, connections and the size of the state. The hosts are SSH servers
in this process, each with its own address and key, that answer as a host does and do nothing.

  npm run bench -- hundred [--hosts 10,100] [--runs 3]`;

/** Measures the three operations, from an empty stack on; adds the results to `operations`. */
async function measure(
  count: number,
  engine: { path: string; folder: string },
  operations: Operation[],
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-bench-"));
  const answering = await answeringHosts(count);
  try {
    const stack = await new Stack({ name: "hundred", directory }).init();
    const env = { ...stack.environment(), PATH: `${engine.folder}:${process.env.PATH ?? ""}` };
    const flags = [
      "--stack",
      "hundred",
      "--config-file",
      stack.configFile,
      "--yes",
      "--skip-preview",
      "--non-interactive",
    ];
    for (const work of works) {
      const delay = work === "one setting changed" ? 5 : 1;
      await stack.configure(answering.hosts, { alertRecipients: "root@localhost.localdomain", delay });
      answering.counted();
      const found = await measured({
        argv: [process.execPath, "--import", "tsx", "cli/pulumi.ts", "up", ...flags],
        env,
      });
      const { connections, atOnce } = answering.counted();
      const state = Buffer.byteLength(await stack.state());
      const values = { seconds: found.seconds, cpu: found.cpu, memory: found.memory, connections, atOnce, state };
      const operation = operations.find((one) => one.hosts === count && one.work === work) ?? {
        ...{ hosts: count, work, seconds: [], cpu: [], memory: [], connections: [], atOnce: [], state: [] },
      };
      if (!operations.includes(operation)) operations.push(operation);
      for (const key of Object.keys(values) as (keyof typeof values)[])
        operation[key].push(Number(values[key].toFixed(2)));
      say(`${work}, ${String(count)} hosts: ${JSON.stringify(values)}`);
    }
  } finally {
    await answering.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Measures many hosts, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      hosts: { type: "string", default: "10,100" },
      runs: { type: "string", default: "3" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const counts = wholeNumbers("hosts", list(values.hosts));
  const [runs = 1] = wholeNumbers("runs", [values.runs]);
  const { engine } = await ensureToolchain({ say });
  const operations: Operation[] = [];
  for (const count of counts) for (let run = 0; run < runs; run += 1) await measure(count, engine, operations);
  await writeResults("hundred", { conditions: await conditions(), operations } satisfies HundredResults);
  return 0;
}
