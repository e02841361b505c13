import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { cacheDir } from "../../tools/sandbox/paths";
import { programs } from "../../tools/torture/settings";
import { run } from "../../toolchain/run";

/** The results of random histories: how many were replayed, and a line for each fault with its seed. */
export interface Histories {
  replayed: number;
  faults: string[];
}

/**
 * Replays so many histories, seeds `first` and on, with the copier called at every step (model/model.py says how).
 * `python` is the interpreter, `env` names another SQLite, `library` is a folder with another LsyncdAsCode, `often` an operation that is to be
 * ten times as frequent.
 */
export async function histories(
  first: number,
  count: number,
  {
    python = "python3",
    env = {},
    library = programs,
    often,
  }: { python?: string; env?: Record<string, string>; library?: string; often?: string } = {},
): Promise<Histories> {
  // More processes than processors: each waits now and then for a clock tick or for a traced process.
  const parts = Math.min(count, Math.max(2, cpus().length) * 2);
  const each = Math.ceil(count / parts);
  const outputs = await Promise.all(
    Array.from({ length: parts }, (_, part) => {
      const program = path.join(__dirname, "model/model.py");
      const many = Math.max(0, Math.min(each, count - part * each));
      const args = ["-B", program, library, String(first + part * each), String(many)];
      if (often !== undefined) args.push("--often", often);
      return run(python, args, { allowFailure: true, env: { ...process.env, ...env } });
    }),
  );
  const lines = outputs.flatMap(({ stdout, stderr }) => `${stdout}${stderr}`.trimEnd().split("\n"));
  const summary = /^(\d+) histories from seed/;
  return {
    replayed: lines.reduce((sum, line) => sum + Number(summary.exec(line)?.[1] ?? 0), 0),
    faults: lines.filter((line) => line !== "" && !summary.test(line)),
  };
}

/** Seeds that were replayed without a fault: `first` and the `count - 1` that follow. */
export interface Range {
  first: number;
  count: number;
}

/** The number of different seeds in the ranges. */
export function seedsOf(ranges: Range[]): number {
  let seeds = 0;
  let end = -Infinity;
  for (const { first, count } of [...ranges].sort((a, b) => a.first - b.first)) {
    seeds += Math.max(0, first + count - Math.max(first, end));
    end = Math.max(end, first + count);
  }
  return seeds;
}

/** The file in which runs record what they replayed, a line for each piece: `<copier> <first> <count>`. */
const notes = (): string => path.join(cacheDir(), "histories");

/** Identifies the model, and the modules of the copier that it calls: after a change of either, histories count anew. */
function copierAsItIs(): string {
  const loaded = 'print map { "$_\\n" } grep { m{/LsyncdAsCode/|/Copier\\.pm\\z} } values %INC';
  const args = ["-I", programs, "-I", __dirname, "-MCopier=Copy,First", "-e", loaded];
  const modules = execFileSync("perl", args, { encoding: "utf8" }).trimEnd().split("\n");
  const model = path.join(__dirname, "model");
  const batch = path.join(programs, "LsyncdAsCode/Batch.pm");
  const files = [...modules, batch, ...readdirSync(model).map((name) => path.join(model, name))];
  const digest = createHash("sha1");
  for (const file of files.filter((name) => /\.(?:pm|pl|py)$/.test(name)).sort()) digest.update(readFileSync(file));
  return digest.digest("hex");
}

/** The ranges that were recorded for the current copier. */
export function noted(): Range[] {
  const lines = existsSync(notes()) ? readFileSync(notes(), "utf8").split("\n") : [];
  const copier = copierAsItIs();
  return lines
    .map((line) => line.split(" "))
    .filter(([whose]) => whose === copier)
    .map(([, first, count]) => ({ first: Number(first), count: Number(count) }));
}

/** Records seeds that were replayed without a fault. */
export function note({ first, count }: Range): void {
  mkdirSync(cacheDir(), { recursive: true });
  appendFileSync(notes(), `${copierAsItIs()} ${first} ${count}\n`);
}
