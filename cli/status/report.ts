import { columns } from "../table";
import type { HostStatus } from "./schema";

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
  ["volumes", ({ checks }) => checks?.volumes?.verdict ?? "-"],
  ["backlog", ({ backlog }) => String(backlog ?? "-")],
  ["behind", ({ behind }) => duration(behind)],
  ["databases", ({ databases }) => String(databases?.waiting ?? "-")],
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

/** A table with a row for each host; below it the problems, and the hosts whose alerts are paused. */
export function statusText(all: HostStatus[]): string {
  const rows = [cells.map(([title]) => title), ...all.map((status) => cells.map(([, cell]) => cell(status)))];
  const problems = all.flatMap(({ host, problems, monitor, checks }) => [
    ...problems.map((problem) => `${host}: ${problem}`),
    ...(checks?.exceptions?.verdict === "held"
      ? [`${host}: held, bypassed or switched off: ${checks.exceptions.text}`]
      : []),
    ...(monitor?.paused === undefined ? [] : [`${host}: alerts are paused until ${monitor.paused}`]),
  ]);
  const sick = all.filter(({ healthy }) => !healthy).length;
  const verdict =
    sick === 0
      ? `all ${String(all.length)} healthy`
      : `${String(sick)} of ${String(all.length)} not healthy. More: docs/troubleshooting.md`;
  return [...columns(rows), ...(problems.length === 0 ? [] : ["", ...problems]), "", verdict].join("\n");
}
