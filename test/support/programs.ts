import { ensurePrograms, type Program } from "../../toolchain/programs";

/** Milliseconds that installing programs may take: the limit of a `beforeAll` that calls `needPrograms`. */
export const installTime = 600_000;

/** Makes sure of the programs a test runs, installing them where it can; fails in one line that names them where not. */
export async function needPrograms(...programs: Program[]): Promise<void> {
  await ensurePrograms(programs, (line) => process.stderr.write(`test: ${line}\n`));
}
