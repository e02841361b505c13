import type { HostSettings } from "../../infra/config";
import { verdicts, type HostStatus } from "./schema";

type Host = Pick<HostSettings, "name" | "address">;

// The monitor's record of its last run; held: a deployment was in progress.
const words: Record<string, string> = { "0": "ok", "1": "PROBLEM", "2": "UNKNOWN", held: "held" };

// Limits: characters per line of a host's output, and lines of one kind.
const longest = 2000;
const mostLines = 50;

/** The status of a host that could not be checked. */
export const unknownStatus = ({ name, address }: Host, why: string): HostStatus => ({
  host: name,
  address,
  healthy: false,
  problems: [why.slice(0, longest)],
});

/** Parses the output of status.sh. The monitor on the host makes the verdicts. */
export function readStatus(host: Host, stdout: string): HostStatus {
  const lines = stdout.split("\n").map((line) => line.slice(0, longest).split("\t"));
  const all = (key: string): string[][] => lines.filter(([name]) => name === key).map(([, ...rest]) => rest);
  const texts = (key: string): string[] =>
    all(key)
      .flatMap(([text]) => (text ? [text] : []))
      .slice(0, mostLines);
  if (texts("deployed")[0] === "no") return unknownStatus(host, "nothing is deployed here: npm run up");
  if (texts("end").length === 0) return unknownStatus(host, "the answer was cut short");
  const [unasked] = texts("unasked");
  if (unasked !== undefined)
    return unknownStatus(host, `its monitor gave no answer (another version? npm run up): ${unasked}`);

  const values = new Map(all("value").map(([name = "", text = ""]) => [name, text]));
  const number = (name: string): number | undefined => {
    const text = values.get(name);
    return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
  };
  const checks = all("check").flatMap(([name = "", word = "", text = ""]) => {
    const verdict = verdicts.find((one) => one === word);
    return verdict ? [[name, { verdict, text }] as const] : [];
  });
  const held = values.get("held");
  const drift = texts("drift");
  const says = texts("last");
  const state = values.get("state") ?? "unknown";
  const sub = values.get("substate") ?? "running";
  const problems = [
    ...(held === undefined ? [] : [`the mirror is held, ${held}`]),
    ...checks.flatMap(([name, { verdict, text }]) =>
      verdict === "problem" || verdict === "unknown" ? [`${name}: ${text}`] : [],
    ),
    ...says.map((line) => `the monitor reports: ${line}`),
    ...drift.map((what) => `changed by hand: ${what}`),
  ];
  const last = values.get("monitor");
  return known({
    host: host.name,
    address: host.address,
    healthy: problems.length === 0,
    problems,
    lsyncd: known({
      state: sub === "running" ? state : `${state} (${sub})`,
      seconds: number("state_seconds"),
      restarts: number("restarts"),
      held,
    }),
    checks: Object.fromEntries(checks),
    backlog: number("backlog"),
    behind: number("behind_seconds"),
    databases: known({ waiting: number("databases_waiting"), behind: number("databases_behind_seconds") }),
    lastError: values.get("last_error"),
    disk: known({
      percent: number("disk_percent"),
      inodesPercent: number("inodes_percent"),
      free: number("disk_free_bytes"),
    }),
    watches: known({ used: number("watches"), limit: number("watches_limit") }),
    memory: known({ used: number("memory_bytes"), limit: number("memory_limit_bytes") }),
    monitor: known({
      verdict: last === undefined ? "never ran" : (words[last] ?? "failed"),
      seconds: number("monitor_seconds"),
      says,
      paused: values.get("paused"),
    }),
    drift,
  });
}

/** An object without its undefined values. */
function known<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}
