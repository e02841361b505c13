import { readSettings } from "../../infra/config";
import { connections } from "../../infra/connection";
import { knownHostKey } from "../../infra/known-hosts";
import { configurationOf, fullStackName, stateOf, type StackName } from "../configuration";
import { borrowers } from "./borrowers";
import { lendToAll, type Loans } from "./lend";
import { askPassword } from "./prompt";

/**
 * `--ask-become-pass`: asks for the password of sudo and gets root's rights for this run on every host that needs it.
 * The password stays in this process and in the pipe to sudo: the engine, its state and the program never have it.
 */
export async function lendForRun(name: StackName, say: (line: string) => void): Promise<Loans> {
  const [stack, exported, full] = [await configurationOf(name), await stateOf(name), await fullStackName(name)];
  const settings = readSettings({ stack, env: process.env });
  const all = borrowers(settings, connections(settings, knownHostKey), full, exported);
  if (all.length === 0) {
    say("No host asks for a password: all log in as root, or have lsyncd:becomePassword.");
    return { faults: [], end: () => undefined };
  }
  const password = await askPassword("Password for sudo: ");
  if (password === "") throw new Error("no password was given, nothing was deployed");
  const loans = await lendToAll(all, password);
  for (const fault of loans.faults) say(fault);
  return loans;
}
