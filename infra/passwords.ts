import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HostSettings } from "./config";

/** What one try of a password has shown: a sudo that did not ask for it says nothing about it. */
export type Verdict = "accepted" | "refused" | "unknown";

/**
 * A password for sudo. Hosts that share one may share the account that too many wrong tries would lock: so one host after
 * the other tries it until one has accepted it, and after one refusal no other does.
 */
export class Password {
  /** The host that has refused it. */
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

// `npm run up` runs the program twice, and has a directory for what the second run must know of the first.
const notes = (): string | undefined => {
  const directory = process.env.LSYNCD_RUN_DIRECTORY;
  return directory === undefined ? undefined : join(directory, "refused");
};

/** The hosts whose sudo has refused its password earlier in this very run, each with the host that said so. */
export function refusedBefore(): Map<string, string> {
  const path = notes();
  const lines = path !== undefined && existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
  return new Map(lines.map((line) => line.split(" ") as [string, string]));
}

/** Notes for the rest of this run that a host's password is refused, and by which host. */
export function noteRefusal(name: string, by: string): void {
  const path = notes();
  if (path !== undefined) appendFileSync(path, `${name} ${by}\n`);
}

/** The passwords for sudo of all hosts, by the host's name: equal ones of equal users are one. */
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
