import { pypi, pythonEnvironment } from "../../tools/python";

/** Ansible in the user's cache, installed on first use. Returns the folder of its programs. */
export async function ansible(): Promise<string> {
  return pythonEnvironment([pypi.ansible], (line) => process.stderr.write(`test: ${line}\n`));
}
