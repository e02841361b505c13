import { parseArgs } from "node:util";
import { normalDelay } from "./bound";
import { prepareTools } from "./tools";
import { ages, torture, disruptions } from "./torture";
import { writers } from "./workload";

/**
 * `node toolchain/bootstrap.mjs tools/torture/main.ts [--samples 100] [--long] [--disrupt kill|full|power] [--plain] [--inotify MODE]`
 *
 * Freezes a mirror under load at random moments and checks every database in it. `--long` adds two of 500 MB, `--disrupt`
 * names the disruption meanwhile, `--plain` is `sqliteSafe: false`: that must fail, which proves that the test detects faults.
 */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      samples: { type: "string", default: "100" },
      long: { type: "boolean", default: false },
      disrupt: { type: "string" },
      inotify: { type: "string" },
      plain: { type: "boolean", default: false },
    },
  });
  const samples = Number(values.samples);
  const disruption = disruptions.find((one) => one === values.disrupt);
  if (values.disrupt !== undefined && disruption === undefined)
    throw new Error(`"${values.disrupt}" is not one of ${disruptions.join(", ")}`);
  const result = await torture({
    tools: await prepareTools(),
    writers: writers(values.long),
    samples,
    safe: !values.plain,
    ...(disruption === undefined ? {} : { disruption }),
    ...(values.inotify === undefined ? {} : { inotifyMode: values.inotify }),
    report: (sample, found) => {
      for (const { path, fault, behind = 0, allowed = 0 } of found) {
        if (fault !== null) console.log(`sample ${sample}: ${path}: ${fault}`);
        if (behind > allowed)
          console.log(`sample ${sample}: ${path}: ${behind.toFixed(2)} s behind, ${allowed.toFixed(2)} allowed`);
      }
    },
  });
  console.log(
    `${samples} samples, ${result.findings.length} databases opened, ${result.faults.length} faults, ${result.late.length} further behind than allowed`,
  );
  // The copier's output without the names of databases.
  const said = [...result.said.matchAll(/^sqlite-copier: [^:]*: (.*?);/gm)].map(([, reason = ""]) => reason);
  for (const reason of new Set(said))
    console.log(`said ${said.filter((one) => one === reason).length} times: ${reason}`);
  const behind = result.findings.flatMap((finding) => finding.behind ?? []);
  const within = behind.filter((seconds) => seconds <= normalDelay).length;
  console.log(
    `${within} of ${behind.length} at most ${normalDelay} s behind; the others within the limits of the mirror's own reports`,
  );
  const most = Math.max(...result.findings.map((finding) => finding.allowed ?? 0));
  const [least, longest] = [Math.min(...result.probes), Math.max(...result.probes)];
  console.log(
    `copying all small ones takes ${least.toFixed(2)} to ${longest.toFixed(2)} s here; ` +
      `at most ${Math.max(...behind).toFixed(2)} s behind, at most ${most.toFixed(2)} allowed`,
  );
  if (disruption === "kill")
    console.log("killed:", [...result.kills].map(([name, count]) => `${name} ${count}`).join(", "));
  console.log("age of the newest commit in the mirror, in seconds");
  console.table(Object.fromEntries(ages(result.findings)));
  console.log("commit latency of the writers, in milliseconds");
  console.table(Object.fromEntries(result.latencies));
  return (result.faults.length + (values.plain ? 0 : result.late.length) === 0) === !values.plain ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
