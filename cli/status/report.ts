import type { HostSettings } from "../../infra/config";
import { columns } from "../table";

/** How one host is. Numbers that are not known are undefined; times are in seconds, memory and disk in bytes. */
export interface HostStatus {
  host: string;
  address: string;
  healthy: boolean;
  /** What is not as it should be, a line each. */
  problems: string[];
  lsyncd?: { state: string; seconds?: number | undefined; restarts?: number | undefined; held?: string | undefined };
  mounts?: { source: string; target: string };
  backlog?: number | undefined;
  behind?: number | undefined;
  lastError?: string | undefined;
  disk?: { percent?: number | undefined; inodesPercent?: number | undefined; free?: number | undefined };
  watches?: { used?: number | undefined; limit?: number | undefined };
  memory?: { used?: number | undefined; limit?: number | undefined };
  /** What its last run said, and until when its alerts are paused. */
  monitor?: { verdict: string; seconds?: number | undefined; says: string[]; paused?: string | undefined };
  /** What is held, bypassed or switched off, as its monitor says. */
  exceptions?: string[];
  drift?: string[];
}

/** The limits by which a host is judged: those of its monitor. */
export type Limits = Pick<
  HostSettings,
  "name" | "address" | "backlogLimit" | "diskLimit" | "watchLimit" | "memoryLimit"
>;

// Held: a deployment was at work.
const verdicts: Record<string, string> = { "0": "ok", "1": "PROBLEM", "2": "UNKNOWN", held: "held" };

// Above this the kernel or systemd means "no limit".
const unlimited = 2 ** 60;

// A monitor that runs every five minutes has been away for too long.
const monitorSilence = 15 * 60;

// Characters of a line that a host prints; status.sh cuts what may be long to 300. Lines of one kind that are listed.
const longest = 400;
const mostLines = 50;

/** A host that could not be asked. */
export const unknownStatus = ({ name, address }: Limits, why: string): HostStatus => ({
  host: name,
  address,
  healthy: false,
  problems: [why.slice(0, longest)],
});

/** Reads what status.sh printed at a moment (seconds since 1970), and judges it. */
export function readStatus(host: Limits, stdout: string, now: number): HostStatus {
  const lines = stdout.split("\n").map((line) => line.slice(0, longest).split("\t") as [string, string?]);
  const text = (key: string): string | undefined =>
    // An empty value is one that the host does not know.
    lines.find(([name, value]) => name === key && value !== "")?.[1];
  const texts = (key: string): string[] =>
    lines.flatMap(([name, value]) => (name === key && value ? [value] : [])).slice(0, mostLines);
  const number = (key: string): number | undefined => {
    const value = text(key);
    return value !== undefined && /^\d+$/.test(value) && Number(value) < unlimited ? Number(value) : undefined;
  };
  if (text("deployed") === "no") return unknownStatus(host, "nothing is deployed here: npm run up");
  if (text("end") === undefined) return unknownStatus(host, "it was cut short while it was asked");

  // The monitor's line of what is held, bypassed or switched off is no problem by itself.
  const exception = /^held exceptions /;
  const since = number("since");
  const state = text("state") ?? "unknown";
  const sub = text("substate");
  const monitor = number("monitor-age") === undefined ? "never ran" : (verdicts[text("monitor") ?? ""] ?? "failed");
  const status = {
    lsyncd: {
      state: sub === undefined || sub === "running" ? state : `${state} (${sub})`,
      seconds: since === undefined ? undefined : Math.max(0, Math.round(now - since)),
      restarts: number("restarts"),
      held: text("held"),
    },
    mounts: { source: text("source") ?? "unknown", target: text("target") ?? "unknown" },
    backlog: number("backlog"),
    behind: number("behind"),
    lastError: text("error"),
    disk: { percent: number("disk"), inodesPercent: number("inodes"), free: number("disk-free") },
    watches: { used: number("watches"), limit: number("watches-limit") },
    memory: { used: number("memory"), limit: number("memory-limit") },
    monitor: {
      verdict: monitor,
      seconds: number("monitor-age"),
      says: texts("monitor-says").filter((line) => !line.startsWith("held ")),
      paused: text("paused"),
    },
    exceptions: texts("monitor-says").flatMap((line) => (exception.test(line) ? [line.replace(exception, "")] : [])),
    drift: texts("drift"),
  };
  const problems = judge(host, status, { state: text("timer"), seconds: number("timer-age") });
  return { host: host.name, address: host.address, healthy: problems.length === 0, problems, ...status };
}

const share = (used?: number, limit?: number): number =>
  used === undefined || limit === undefined || limit === 0 ? 0 : (used / limit) * 100;

function judge(
  host: Limits,
  status: Required<Omit<HostStatus, "host" | "address" | "healthy" | "problems">>,
  timer: { state?: string | undefined; seconds?: number | undefined },
): string[] {
  const { lsyncd, mounts, backlog = 0, disk, watches, memory, monitor, drift } = status;
  const problems: string[] = [];
  const unless = (fine: boolean, problem: string): void => {
    if (!fine) problems.push(problem);
  };
  if (lsyncd.held !== undefined) problems.push(`the mirror is held, ${lsyncd.held}`);
  else unless(lsyncd.state === "active", `lsyncd is ${lsyncd.state}`);
  unless(mounts.source === "ok", `source volume: ${mounts.source}`);
  unless(mounts.target === "ok", `target volume: ${mounts.target}`);
  unless(backlog <= host.backlogLimit, `${String(backlog)} changes wait (limit ${String(host.backlogLimit)})`);
  const full = Math.max(disk.percent ?? 0, disk.inodesPercent ?? 0);
  unless(full <= host.diskLimit, `the target is ${String(full)} % full (limit ${String(host.diskLimit)} %)`);
  unless(share(watches.used, watches.limit) <= host.watchLimit, "inotify watches are running out");
  unless(share(memory.used, memory.limit) <= host.memoryLimit, "lsyncd is near its memory limit");
  unless(timer.state === "active", "the monitor's timer is not running");
  unless(monitor.verdict !== "PROBLEM" || monitor.says.length > 0, "the monitor says: not healthy");
  unless(monitor.verdict !== "UNKNOWN" && monitor.verdict !== "failed", "the monitor could not check the host");
  problems.push(...monitor.says.map((line) => `the monitor says: ${line}`));
  unless((monitor.seconds ?? 0) < monitorSilence, `the monitor last ran ${duration(monitor.seconds)} ago`);
  unless(
    monitor.seconds !== undefined || (timer.seconds ?? 0) < monitorSilence,
    "the monitor has not run since the boot",
  );
  return [...problems, ...drift.map((what) => `changed by hand: ${what}`)];
}

/** A time span in its two largest units. */
export function duration(seconds: number | undefined): string {
  if (seconds === undefined) return "-";
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  const shown = first < 0 ? parts.slice(3) : parts.slice(first, first + 2);
  return shown.map(([count, unit]) => `${String(count)}${unit}`).join("");
}

/** Bytes in a binary unit. */
export function bytes(count: number | undefined): string {
  if (count === undefined) return "-";
  const power = count === 0 ? 0 : Math.min(4, Math.floor(Math.log2(count) / 10));
  const value = count / 1024 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : String(Math.round(value))}${["B", "K", "M", "G", "T"][power] ?? ""}`;
}

const percent = (value: number | undefined): string => (value === undefined ? "-" : `${String(Math.round(value))}%`);

const cells: [string, (status: HostStatus) => string][] = [
  ["host", ({ host }) => host],
  ["verdict", ({ healthy, lsyncd }) => (healthy ? "ok" : lsyncd?.held === undefined ? "PROBLEM" : "held")],
  ["lsyncd", ({ lsyncd }) => lsyncd?.state ?? "-"],
  ["since", ({ lsyncd }) => duration(lsyncd?.seconds)],
  ["restarts", ({ lsyncd }) => String(lsyncd?.restarts ?? "-")],
  ["mounts", ({ mounts }) => (mounts === undefined ? "-" : [...new Set([mounts.source, mounts.target])].join(" / "))],
  ["backlog", ({ backlog }) => String(backlog ?? "-")],
  ["behind", ({ behind }) => duration(behind)],
  ["disk", ({ disk }) => (disk === undefined ? "-" : `${percent(disk.percent)} ${bytes(disk.free)} free`)],
  [
    "watches",
    ({ watches }) => (watches === undefined ? "-" : `${String(watches.used ?? "-")}/${String(watches.limit ?? "-")}`),
  ],
  ["memory", ({ memory }) => (memory === undefined ? "-" : `${bytes(memory.used)}/${bytes(memory.limit)}`)],
  [
    "monitor",
    ({ monitor }) =>
      monitor === undefined
        ? "-"
        : `${monitor.verdict}${monitor.seconds === undefined ? "" : ` ${duration(monitor.seconds)} ago`}${monitor.paused === undefined ? "" : ", paused"}`,
  ],
  ["drift", ({ drift }) => (drift === undefined ? "-" : drift.length === 0 ? "none" : String(drift.length))],
  ["last error", ({ lastError }) => lastError ?? "-"],
];

/** One table, a row for each host; below it what is wrong, and who is not told. */
export function statusText(all: HostStatus[]): string {
  const rows = [cells.map(([title]) => title), ...all.map((status) => cells.map(([, cell]) => cell(status)))];
  const problems = all.flatMap(({ host, problems, monitor, exceptions = [] }) => [
    ...problems.map((problem) => `${host}: ${problem}`),
    ...exceptions.map((exception) => `${host}: held, bypassed or switched off: ${exception}`),
    ...(monitor?.paused === undefined ? [] : [`${host}: alerts are paused until ${monitor.paused}`]),
  ]);
  const sick = all.filter(({ healthy }) => !healthy).length;
  const verdict =
    sick === 0
      ? `all ${String(all.length)} healthy`
      : `${String(sick)} of ${String(all.length)} not healthy. More: docs/operations.md#troubleshooting`;
  return [...columns(rows), ...(problems.length === 0 ? [] : ["", ...problems]), "", verdict].join("\n");
}
