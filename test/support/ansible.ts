import { pypi, pythonEnvironment } from "../../tools/python";

/** Installs Ansible in the user's cache on first use. Returns the folder of its programs. */
export async function ansible(): Promise<string> {
  return pythonEnvironment([pypi.ansible], (line) => process.stderr.write(`test: ${line}\n`));
}
