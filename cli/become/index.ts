import { certified } from "../../infra/certified";
import { readSettings } from "../../infra/config";
import { connections } from "../../infra/connection";
import { borrows } from "../../infra/lending";
import { knownHostKey } from "../../infra/known-hosts";
import { configurationOf, fullStackName, stateOf, type StackName } from "../configuration";
import { borrowers, type Borrower } from "./borrowers";
import { lendToAll, type Loans } from "./lend";
import { askPassword } from "./prompt";

const none: Loans = { faults: [], end: () => undefined };

/**
 * Gets root's rights for this run on every host that needs them. With `ask` (`--ask-become-pass`), asks for sudo's password if
 * the settings have none. The password stays in this process and in the pipe to sudo: the engine, its state and the program
 * never receive it.
 */
export async function lendForRun(name: StackName, ask: boolean, say: (line: string) => void): Promise<Loans> {
  const settings = readSettings({ stack: await configurationOf(name), env: process.env });
  if (!ask && !settings.hosts.some((host) => borrows(host) && host.becomePassword !== undefined)) return none;
  const [exported, full] = [await stateOf(name), await fullStackName(name)];
  const reach = await certified(connections(settings, knownHostKey));
  const all = (asked?: string): Borrower[] => borrowers(settings, reach, full, exported, asked);
  const asking = ask && all("").some(({ password }) => password === "");
  if (ask && !asking) say("No host needs a password: each logs in as root or has lsyncd:becomePassword.");
  const password = asking ? await askPassword("Password for sudo: ") : undefined;
  if (password === "") throw new Error("no password was entered; nothing was deployed");
  const loans = await lendToAll(all(password));
  for (const fault of loans.faults) say(fault);
  return loans;
}
