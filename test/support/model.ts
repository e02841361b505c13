import { cpus } from "node:os";
import path from "node:path";
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
  const parts = Math.min(count, Math.max(2, cpus().length));
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
