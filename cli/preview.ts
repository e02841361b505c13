import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runTool } from "./cli";
import { homeWithoutLog } from "./engine-home";
import { readArguments, type Options } from "./preview/arguments";
import { readEventLog } from "./preview/events";
import { comment, summary } from "./preview/markdown";
import { changesText, withColours } from "./preview/terminal";
import { stackReport, type StackReport } from "./preview/report";
import { stackNames, touchedStacks } from "./preview/stacks";
import { run } from "../toolchain/run";
import { ensureToolchain } from "../toolchain";

const root = join(__dirname, "..");

const usage = `Show what a deployment would change. Nothing is changed.

Usage: npm run preview -- [--stack NAME]… [--markdown FILE] [FLAG…]
       npm run preview -- --changed-since origin/main --markdown FILE

Options:
  --stack NAME          the stack (default: the selected one); can be repeated
  --markdown FILE       write the text of the pull request comment to FILE, or to standard output with -
  --changed-since REF   preview the stacks affected by changes since REF
  --list                only print the names of the stacks, as JSON
  FLAG                  any flag of pulumi preview, such as --target`;

/** The engine's exit code and the end of its output. */
interface Ended {
  code: number;
  tail: string;
}

/**
 * Runs `pulumi preview`, without `--diff`: with it, the engine prints an excerpt of every file that does not change. In a terminal,
 * the engine uses that terminal, so that it can ask for a passphrase. Its output goes to stderr if the comment goes to stdout.
 */
async function preview(
  engine: string,
  args: string[],
  log: string,
  env: NodeJS.ProcessEnv,
  stdoutIsTaken: boolean,
): Promise<Ended> {
  const interactive = process.stdin.isTTY && process.stdout.isTTY && !stdoutIsTaken;
  const child = spawn(engine, ["preview", ...args, "--event-log", log], {
    cwd: root,
    env,
    stdio: interactive ? "inherit" : ["inherit", "pipe", "pipe"],
  });
  let tail = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      (stdoutIsTaken ? process.stderr : process.stdout).write(chunk);
      tail = (tail + chunk.toString()).slice(-4000);
    });
  }
  process.on("SIGINT", () => undefined);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code: code ?? 1, tail });
    });
  });
}

async function git(...args: string[]): Promise<string[]> {
  const { stdout } = await run("git", [...args, "-z"], { cwd: root });
  return stdout.split("\0").filter((name) => name !== "");
}

/** The stacks to preview; an empty name is the selected one. */
async function stacksOf({ stacks, changedSince }: Options): Promise<string[]> {
  if (changedSince === undefined) return stacks.length > 0 ? stacks : [""];
  const changed = await git("diff", "--name-only", "--merge-base", changedSince);
  return touchedStacks(changed, stackNames(await git("ls-files", "stacks")));
}

async function main(argv: string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    console.log(usage);
    return 0;
  }
  const options = readArguments(argv);
  const stacks = await stacksOf(options);
  if (options.list) {
    console.log(JSON.stringify(stacks));
    return 0;
  }
  const stdoutIsTaken = options.markdown === "-";
  const { engine } = await ensureToolchain();
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-preview-"));
  const reports: StackReport[] = [];
  let worst = 0;
  try {
    const home = await homeWithoutLog(folder, process.env);
    const env = { ...process.env, ...home, PULUMI_DEBUG_COMMANDS: "true", PULUMI_SKIP_UPDATE_CHECK: "true" };
    for (const [index, stack] of stacks.entries()) {
      const log = join(folder, `${index}.json`);
      const args = [...(stack === "" ? [] : ["--stack", stack]), ...options.rest];
      const { code, tail } = await preview(engine.path, args, log, env, stdoutIsTaken);
      const seen = await readEventLog(log);
      if (seen.steps.length === 0 && seen.messages.length === 0 && tail.trim() !== "")
        seen.messages.push({ severity: "error", text: tail.trim() });
      const report = stackReport(seen, seen.stack ?? stack);
      reports.push({ ...report, succeeded: report.succeeded && code === 0 });
      worst = Math.max(worst, code);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const print = stdoutIsTaken ? console.error : console.log;
  const colours = withColours(options.rest, (stdoutIsTaken ? process.stderr : process.stdout).isTTY);
  for (const report of reports) {
    const changes = changesText(report, colours);
    if (changes !== "") print(`\n${changes}`);
    print(`\n${report.stack}: ${summary(report)}`);
  }
  if (options.markdown === "-") process.stdout.write(comment(reports));
  else if (options.markdown !== undefined) await writeFile(options.markdown, comment(reports));
  return worst;
}

runTool(main, { usage });
