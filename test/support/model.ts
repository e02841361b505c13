import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";
import path from "node:path";
import { cacheDir } from "../../tools/sandbox/paths";
import { programs } from "../../tools/torture/settings";
import { run } from "../../toolchain/run";

/** What random histories of a database came to: how many were replayed, and a line for each fault with its seed. */
export interface Histories {
  replayed: number;
  faults: string[];
}

/**
 * Replays so many histories, seeds `first` and on, with the copier called at every step (model/model.py says how).
 * `python` is the interpreter, `env` names another SQLite.
 */
export async function histories(
  first: number,
  count: number,
  { python = "python3", env = {} }: { python?: string; env?: Record<string, string> } = {},
): Promise<Histories> {
  // More than there are processors: each waits for a clock's tick or for a process to be traced now and then.
  const parts = Math.min(count, Math.max(2, cpus().length) * 2);
  const each = Math.ceil(count / parts);
  const outputs = await Promise.all(
    Array.from({ length: parts }, (_, part) => {
      const program = path.join(__dirname, "model/model.py");
      const many = Math.max(0, Math.min(each, count - part * each));
      const args = ["-B", program, programs, String(first + part * each), String(many)];
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

/** Seeds that were replayed without a fault: `first` and `count - 1` more. */
export interface Range {
  first: number;
  count: number;
}

/** How many different seeds some ranges hold. */
export function seedsOf(ranges: Range[]): number {
  let seeds = 0;
  let end = -Infinity;
  for (const { first, count } of [...ranges].sort((a, b) => a.first - b.first)) {
    seeds += Math.max(0, first + count - Math.max(first, end));
    end = Math.max(end, first + count);
  }
  return seeds;
}

/** Where runs note what they replayed, a line for each piece: `<copier> <first> <count>`. */
const notes = (): string => path.join(cacheDir(), "histories");

/** What identifies the copier and the model as they are now: with another one of them, histories count anew. */
function copierAsItIs(): string {
  const digest = createHash("sha1");
  const modules = path.join(programs, "LsyncdAsCode");
  const model = path.join(__dirname, "model");
  for (const folder of [modules, model])
    for (const name of readdirSync(folder).filter((file) => /\.(?:pm|pl|py)$/.test(file)))
      digest.update(readFileSync(path.join(folder, name)));
  return digest.digest("hex");
}

/** The ranges that were noted for the copier as it is. */
export function noted(): Range[] {
  const lines = existsSync(notes()) ? readFileSync(notes(), "utf8").split("\n") : [];
  const copier = copierAsItIs();
  return lines
    .map((line) => line.split(" "))
    .filter(([whose]) => whose === copier)
    .map(([, first, count]) => ({ first: Number(first), count: Number(count) }));
}

/** Notes seeds that were replayed without a fault. */
export function note({ first, count }: Range): void {
  mkdirSync(cacheDir(), { recursive: true });
  appendFileSync(notes(), `${copierAsItIs()} ${first} ${count}\n`);
}
