import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../tools/run";
import { cacheDir } from "../../tools/sandbox/paths";
import { needPrograms } from "./programs";

// The last one that Python 3.11, Debian 12's, can run.
const version = "2.19.4";

/** Ansible in a virtual environment of the user's cache, made on first use. Returns the folder of its programs. */
export async function ansible(): Promise<string> {
  const venv = join(cacheDir(), `ansible-core-${version}`);
  const make = `
    [ -e "$1/complete" ] && exit
    python3 -m venv --clear "$1" && "$1/bin/pip" install --quiet "ansible-core==$2" && touch "$1/complete"`;
  await needPrograms("python3");
  await mkdir(cacheDir(), { recursive: true });
  // Test files that run at the same time wait for the one that makes it.
  await run("flock", [`${venv}.lock`, "sh", "-c", make, "sh", venv, version]);
  return join(venv, "bin");
}
