/** `npm run reliability`: injects faults on sandbox hosts, and writes docs/reliability.md from the results. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { laidOut, writePage } from "./bench/results";
import { runTool, UsageError } from "../cli/cli";
import { chapters, reliabilityPage, resultsVariable, runsOf, type Results, type Row } from "./reliability/page";
import { outcomes, together, type JestResult } from "./reliability/outcome";
import { run } from "../toolchain/run";
import { ensureToolchain } from "../toolchain";

const root = resolve(__dirname, "..");
const page = "reliability.md";
const kept = join("reliability", "results.json");
const known = chapters.flatMap(({ files }) => files);

const usage = `Inject faults on sandbox hosts, store the results in docs/${kept}, and write docs/${page} from them.

Usage: npm run reliability [-- FILE… --add --torture --workers N | --write | --check]

Options:
  FILE         run only these tests; the results of the others stay. Available:
               ${known.join(" ")}
  --add        keep the stored results of these tests as well: a further run, such as of power cuts with other seeds
  --torture    interrupt deployments at many more points; takes an hour longer
  --workers N  number of files to run at once (default 2)
  --write      run nothing; write the page from the stored results
  --check      run and write nothing; exit 1 if the page is out of date`;

async function readKept(): Promise<Results> {
  const text = await readFile(join(root, "docs", kept), "utf8").catch(() => "{}");
  return JSON.parse(text) as Results;
}

/** Identifies the tested version regardless of the commit: git's hashes of the trees infra/ and templates/. */
async function present(): Promise<string> {
  const git = async (...args: string[]): Promise<string> =>
    (await run("git", args, { cwd: root, allowFailure: true })).stdout.trim();
  const trees = [
    await git("rev-parse", "--short=8", "HEAD:infra"),
    await git("rev-parse", "--short=8", "HEAD:templates"),
  ];
  const changed = await git("status", "--porcelain", "--", "infra", "templates");
  return trees.join("/") + (changed === "" ? "" : "+");
}

/** Runs test files and returns their results. */
async function inject(files: string[], torture: boolean, workers: string): Promise<Results> {
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-reliability-"));
  try {
    const rows = join(folder, "rows");
    const result = join(folder, "result.json");
    await writeFile(rows, "");
    const jest = join(root, "node_modules", "jest", "bin", "jest.js");
    const pattern = `test/hosts(-long)?/(${files.join("|")})\\.test\\.ts$`;
    const reporters = ["--reporters=default", "--reporters=./tools/test-progress.cjs"];
    const options = [`--maxWorkers=${workers}`, "--ci", ...reporters, "--json", `--outputFile=${result}`];
    const env = { ...process.env, [resultsVariable]: rows, ...(torture ? { TORTURE: "1" } : {}) };
    const program = await present();
    await run(
      process.execPath,
      [jest, "--selectProjects", "hosts", "long", "--testPathPatterns", pattern, ...options],
      { cwd: root, env, allowFailure: true, echo: true },
    );
    const lines = (await readFile(rows, "utf8")).split("\n").filter((line) => line !== "");
    return outcomes(
      JSON.parse(await readFile(result, "utf8")) as JestResult,
      lines.map((line) => JSON.parse(line) as Row),
      { date: new Date().toISOString().slice(0, 10), program },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      add: { type: "boolean", default: false },
      torture: { type: "boolean", default: false },
      workers: { type: "string", default: "2" },
      write: { type: "boolean", default: false },
      check: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const unknown = positionals.filter((name) => !known.includes(name));
  if (!/^[1-9]\d?$/.test(values.workers)) throw new UsageError("--workers needs a number from 1 to 99");
  if (unknown.length > 0) throw new UsageError(`no such fault test: ${unknown.join(", ")}`);
  let results = await readKept();
  if (values.check) {
    const is = await readFile(join(root, "docs", page), "utf8");
    if (is === (await laidOut(page, reliabilityPage(results)))) return 0;
    console.error(`docs/${page} is out of date. Update it: npm run reliability -- --write`);
    return 1;
  }
  if (!values.write) {
    await ensureToolchain();
    const seen = await inject(positionals.length > 0 ? positionals : known, values.torture, values.workers);
    // Read again: another run may have finished in the meantime.
    results = together(await readKept(), seen, values.add);
    await writePage(kept, JSON.stringify(results));
  }
  await writePage(page, reliabilityPage(results));
  const runs = Object.values(results).flatMap(runsOf);
  const faults = runs.flatMap(({ rows }) => rows);
  const failed = runs.flatMap((one) => one.failed);
  console.log(`docs/${page}: ${String(faults.length)} faults`);
  if (failed.length > 0) console.error(`Failed (listed on the page):\n  ${failed.join("\n  ")}`);
  return failed.length > 0 ? 1 : 0;
}

if (require.main === module) runTool(main, { usage });
