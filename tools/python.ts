import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ensurePrograms } from "../toolchain/programs";
import { run } from "../toolchain/run";
import { cacheDir } from "./sandbox/paths";

/** PyPI packages for tests and benchmarks, with their versions. */
export const pypi = {
  /** SQLite3 Multiple Ciphers: writes plain and encrypted databases. */
  apsw: "apsw-sqlite3mc==3.54.0.0",
  /** The last one that Python 3.11, Debian 12's, can run. */
  ansible: "ansible-core==2.19.4",
  mitogen: "mitogen==0.3.54",
  /** Stands in for AWS. */
  moto: "moto[server,s3,kms]==5.1.4",
  pyinfra: "pyinfra==3.10.0",
} as const;

/**
 * A Python virtual environment with the given packages, in this user's cache, made on first use and named after them. Returns the
 * folder of its programs.
 */
export async function pythonEnvironment(
  packages: string[],
  say: (line: string) => void = () => undefined,
): Promise<string> {
  const venv = join(cacheDir(), packages.map((name) => name.replace("==", "-")).join("+"));
  const make = `
    venv=$1; shift
    [ -e "$venv/complete" ] && exit
    python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet "$@" && touch "$venv/complete"`;
  await ensurePrograms(["python3"], say);
  await mkdir(cacheDir(), { recursive: true });
  // Concurrent callers wait for the one that creates it.
  await run("flock", [`${venv}.lock`, "sh", "-c", make, "sh", venv, ...packages]);
  return join(venv, "bin");
}
