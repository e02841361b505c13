import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { run } from "../../toolchain/run";

const root = resolve(__dirname, "../..");

/** A program with its arguments, and how it is started. */
export interface Command {
  argv: string[];
  env: NodeJS.ProcessEnv;
}

/** The output of measure.py for one command. */
export interface Measured {
  seconds: number;
  /** CPU seconds of it and of all it started. */
  cpu: number;
  /** Most bytes of memory of all of them at one time. */
  memory: number;
  /** Command line and CPU seconds of each process, less what it used in its last moment. */
  programs: [commandLine: string, cpu: number][];
}

/** Runs a command in the repository's root, `through` another one if given, and measures it. Throws when it fails. */
export async function measured({ argv, env }: Command, through: string[] = []): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-bench-"));
  try {
    const result = join(directory, "measured.json");
    const [first = "", ...rest] = [...through, "python3", join(__dirname, "measure.py"), result, ...argv];
    const { code, stdout, stderr } = await run(first, rest, { cwd: root, env, allowFailure: true });
    if (code !== 0) throw new Error(`${argv.join(" ")} exited with ${code}:\n${stdout}\n${stderr}`);
    return JSON.parse(await readFile(result, "utf8")) as Measured;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
