import { ensurePrograms, type Program } from "../../toolchain/programs";

/** Milliseconds that installing programs may take: the timeout of a `beforeAll` that calls `needPrograms`. */
export const installTime = 600_000;

/** Installs the programs that a test runs if they are missing; fails with one line that names those it cannot install. */
export async function needPrograms(...programs: Program[]): Promise<void> {
  await ensurePrograms(programs, (line) => process.stderr.write(`test: ${line}\n`));
}
