import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HostSettings } from "./config";

/** The result of trying a password; unknown if sudo did not ask for it. */
export type Verdict = "accepted" | "refused" | "unknown";

/**
 * A sudo password. Hosts that share a password may share an account that too many wrong attempts would lock. So hosts try it
 * one after the other until one accepts it, and after a refusal no other host tries it.
 */
export class Password {
  /** The host that refused it. */
  refusedBy: string | undefined;
  private accepted = false;
  private trying: Promise<unknown> | undefined;

  /** `text` is the password itself. */
  constructor(readonly text: string) {}

  /** Runs `attempt` when it is this host's turn; undefined when another host has refused the password meanwhile. */
  async tryOn<T>(name: string, attempt: () => Promise<T>, verdict: (result: T) => Verdict): Promise<T | undefined> {
    while (!this.accepted && this.trying !== undefined) await this.trying;
    if (this.refusedBy !== undefined) return undefined;
    if (this.accepted) return attempt();
    const work = attempt();
    this.trying = work.catch(() => undefined);
    try {
      const found = verdict(await work);
      if (found === "refused") this.refusedBy = name;
      if (found === "accepted") this.accepted = true;
      return await work;
    } finally {
      this.trying = undefined;
    }
  }
}

// `npm run up` runs the program twice; this directory passes information from the first run to the second.
const notes = (): string | undefined => {
  const directory = process.env.LSYNCD_RUN_DIRECTORY;
  return directory === undefined ? undefined : join(directory, "refused");
};

/** The hosts whose password was refused earlier in this run, each with the host that refused it. */
export function refusedBefore(): Map<string, string> {
  const path = notes();
  const lines = path !== undefined && existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
  return new Map(lines.map((line) => line.split(" ") as [string, string]));
}

/** Records for the rest of this run that a host's password was refused, and by which host. */
export function noteRefusal(name: string, by: string): void {
  const path = notes();
  if (path !== undefined) appendFileSync(path, `${name} ${by}\n`);
}

/** The sudo passwords of all hosts, by host name; hosts with the same user and password share one. */
export function passwordsOf(hosts: HostSettings[]): Map<string, Password> {
  const known = new Map<string, Password>();
  return new Map(
    hosts.flatMap(({ name, user, becomePassword }): [string, Password][] => {
      if (user === "root" || becomePassword === undefined) return [];
      const key = JSON.stringify([user, becomePassword]);
      const password = known.get(key) ?? new Password(becomePassword);
      known.set(key, password);
      return [[name, password]];
    }),
  );
}
