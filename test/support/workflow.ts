import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { run, type Finished } from "../../toolchain/run";

const folder = resolve(__dirname, "../../.github/workflows");

interface Step {
  run?: string;
  env?: Record<string, string>;
}
interface Workflow {
  jobs: Record<string, { steps: Step[]; outputs?: Record<string, string> }>;
}

/** The results of a job's steps, and their outputs for later jobs (`GITHUB_OUTPUT`). */
export interface JobResult extends Finished {
  outputs: Record<string, string>;
}

/**
 * Runs the `run:` steps of a job of `.github/workflows` one after the other, each as a runner does: with bash -e, with the
 * step's variables and no others of its own. Actions (`uses:`) are left out. Ends with the first step that fails.
 *
 * @param values What stands for each `${{ expression }}`; an expression that is not in it throws.
 */
export async function runJob(
  [file, job]: [string, string],
  values: Record<string, string>,
  options: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<JobResult> {
  const { jobs } = parse(await readFile(join(folder, file), "utf8")) as Workflow;
  const steps = jobs[job]?.steps.filter((step) => step.run !== undefined) ?? [];
  if (steps.length === 0) throw new Error(`${file} has no job ${job} with steps that run something`);
  const evaluated = (text: string): string =>
    text.replaceAll(/\$\{\{ *(.*?) *\}\}/g, (_, expression: string) => {
      const value = values[expression];
      if (value === undefined) throw new Error(`${file}: nothing stands for ${expression}`);
      return value;
    });
  const temp = await mkdtemp(join(tmpdir(), "lsyncd-as-code-runner-"));
  const written = join(temp, "output");
  try {
    await writeFile(written, "");
    const said = { code: 0, stdout: "", stderr: "" };
    for (const step of steps) {
      const script = join(temp, "step.sh");
      await writeFile(script, evaluated(step.run ?? ""));
      const own = Object.fromEntries(Object.entries(step.env ?? {}).map(([name, value]) => [name, evaluated(value)]));
      const { code, stdout, stderr } = await run("bash", ["-e", script], {
        cwd: options.cwd,
        env: { ...options.env, ...own, GITHUB_OUTPUT: written, RUNNER_TEMP: options.env.RUNNER_TEMP ?? temp },
        allowFailure: true,
      });
      Object.assign(said, { code, stdout: said.stdout + stdout, stderr: said.stderr + stderr });
      if (code !== 0) break;
    }
    const lines = (await readFile(written, "utf8")).split("\n").filter((line) => line !== "");
    const outputs = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]));
    return { ...said, outputs };
  } finally {
    await rm(temp, { recursive: true, force: true });
  }
}
