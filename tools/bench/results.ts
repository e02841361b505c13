import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import { run } from "../../toolchain/run";

const root = resolve(__dirname, "../..");

/** Where the raw results are, one file for each mode. */
const folder = join(root, "docs", "performance");

/** The machine and day of a measurement. */
export interface Conditions {
  /** Day of the measurement, as 2026-11-25. */
  date: string;
  /** The last commit that changed the program or its tools; with a plus when the working copy had changes. */
  commit: string;
  cores: number;
  /** In GiB. */
  memory: number;
  kernel: string;
  node: string;
}

/** The conditions here and now. */
export async function conditions(): Promise<Conditions> {
  const git = async (...args: string[]): Promise<string> =>
    (await run("git", args, { cwd: root, allowFailure: true })).stdout.trim();
  const paths = ["infra", "templates", "tools", "package-lock.json", "Pulumi.yaml", ":!tools/bench"];
  const changed = await git("status", "--porcelain", "--untracked-files=no", "--", ...paths);
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: (await git("log", "-1", "--format=%h", "--abbrev=10", "--", ...paths)) + (changed === "" ? "" : "+"),
    cores: cpus().length,
    memory: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  };
}

/** The conditions as a line of a page. */
export function conditionsText({ date, commit, cores, memory, kernel, node }: Conditions): string {
  return `${date}, commit ${commit}, ${cores} cores, ${memory} GB of memory, Linux ${kernel}, Node ${node.slice(1)}`;
}

/** The raw results of a mode; undefined when nothing was measured yet. */
export async function readResults(name: string): Promise<unknown> {
  const path = join(folder, `${name}.json`);
  return existsSync(path) ? (JSON.parse(await readFile(path, "utf8")) as unknown) : undefined;
}

/** Stores the raw results of a mode, replacing earlier ones. */
export async function writeResults(name: string, results: unknown): Promise<void> {
  await writePage(join("performance", `${name}.json`), JSON.stringify(results));
}

/** Writes a file of docs/, laid out as the repository's other files. */
export async function writePage(name: string, text: string): Promise<void> {
  const path = join(root, "docs", name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, await laidOut(name, text));
}

/** The text of a file of docs/ as prettier lays it out; formats that prettier does not know stay as they are. */
export async function laidOut(name: string, text: string): Promise<string> {
  // Loaded late: only who writes a page needs it.
  const { format } = await import("prettier");
  const parser = name.endsWith(".md") ? "markdown" : name.endsWith(".json") ? "json" : undefined;
  return parser === undefined ? text : format(text, { parser, printWidth: 120 });
}
