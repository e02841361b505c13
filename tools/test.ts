import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ensurePrograms } from "../toolchain/programs";
import { ensureToolchain } from "../toolchain";

const root = resolve(__dirname, "..");

/** Files of tests that run at once, on two processors as on more: each has files and hosts of its own, and they share the machine's disk. */
const workers = "--maxWorkers=2";

/** The projects of jest.config.cjs that always run, the quick ones first, with their options. */
const projects = [
  { name: "unit", options: [] },
  { name: "programs", options: [workers] },
  {
    name: "hosts",
    options: [workers, "--reporters=default", "--reporters=./tools/test-progress.cjs"],
  },
];

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

/** The parts of jest's JSON result that are read here. */
interface JestResult {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  numRuntimeErrorTestSuites: number;
}

/** Runs one jest project, passes its output on, and counts the results. */
async function runProject(project: (typeof projects)[number], args: string[]): Promise<Count> {
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-jest-"));
  try {
    const output = join(folder, "result.json");
    // Without --ci a snapshot that is missing would be written, and pass. Lists such as --reporters take all words that
    // follow, so they come first.
    const options = [...project.options, "--passWithNoTests", "--json", `--outputFile=${output}`, "--ci"];
    const jest = join(root, "node_modules", "jest", "bin", "jest.js");
    const code = await new Promise<number>((done, fail) => {
      const child = spawn(process.execPath, [jest, "--selectProjects", project.name, ...options, ...args], {
        cwd: root,
        stdio: ["ignore", "inherit", "inherit"],
      });
      child.on("error", fail);
      child.on("close", (status) => {
        done(status ?? 1);
      });
    });
    const text = await readFile(output, "utf8").catch(() => undefined);
    return count(text === undefined ? undefined : (JSON.parse(text) as JestResult), code);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Counts the results of a run: `result` is jest's own (undefined if it wrote none), `code` its exit code. */
export function count(result: JestResult | undefined, code: number): Count {
  if (result === undefined) return { passed: 0, failed: 1, skipped: 0 };
  // A file that cannot be loaded has no failed tests.
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  return {
    passed: result.numPassedTests,
    // Any other failure of jest, such as a crash after the last test
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: result.numPendingTests + result.numTodoTests,
  };
}

/** The last line of a run. */
export function summary({ passed, failed, skipped }: Count): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

async function main(args: string[]): Promise<void> {
  const say = (line: string): void => {
    console.error(`test: ${line}`);
  };
  // Earlier checks that failed, such as those of .ci/run, count too.
  const total: Count = { passed: 0, failed: Number(process.env.FAILED_BEFORE ?? 0), skipped: 0 };
  try {
    await ensurePrograms(["lua5.3", "perl", "bash", "ssh-keygen", "systemd-analyze"], say);
    await ensureToolchain();
    for (const project of projects) {
      const { passed, failed, skipped } = await runProject(project, args);
      total.passed += passed;
      total.failed += failed;
      total.skipped += skipped;
    }
    if (total.passed + total.failed === 0) say("no test ran");
  } catch (error) {
    say((error as Error).message);
    total.failed++;
  }
  console.log(summary(total));
  if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
}

if (require.main === module) void main(process.argv.slice(2));
