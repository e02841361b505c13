import type { RemoteResult } from "../../infra/ssh";
import { columns } from "../table";

/** A finding of lsyncd-verify on a host. */
export interface Finding {
  /** `fault`: the mirror differs or is damaged. `unchecked`: the check was not possible. */
  kind: "fault" | "unchecked";
  text: string;
}

/** The counts of a finished verification. */
export interface Counts {
  files: number;
  databases: number;
  faults: number;
  unchecked: number;
}

/** The result for one host: fine, with faults, or not (completely) checked. */
export interface HostReport {
  host: string;
  result: "fine" | "faults" | "not checked";
  /** Duration in seconds. */
  seconds: number;
  /** Absent when nothing could be verified; then `reason` says why. */
  counts?: Counts;
  reason?: string;
  findings: Finding[];
}

const totals = /^(\d+) files, (\d+) databases: (\d+) faults, (\d+) not checked$/m;

/** Parses the output and exit code of lsyncd-verify. An interrupted run counts as not checked. */
export function readReport(host: string, seconds: number, { code, stdout, stderr }: RemoteResult): HostReport {
  const numbers = totals.exec(stdout)?.slice(1).map(Number);
  const findings = stdout.split("\n").flatMap((line): Finding[] => {
    const [, word, text] = /^(FAULT|UNCHECKED) (.*)$/.exec(line) ?? [];
    return text === undefined ? [] : [{ kind: word === "FAULT" ? "fault" : "unchecked", text }];
  });
  if (numbers === undefined || code > 2) {
    const reason = code === 127 ? notInstalled : (lastLine(stderr) ?? lastLine(stdout) ?? `exit code ${code}`);
    return { host, result: "not checked", seconds, reason, findings };
  }
  const [files = 0, databases = 0, faults = 0, unchecked = 0] = numbers;
  const result = code === 1 || faults > 0 ? "faults" : code === 2 || unchecked > 0 ? "not checked" : "fine";
  return { host, result, seconds, counts: { files, databases, faults, unchecked }, findings };
}

const notInstalled = "lsyncd-verify is not installed: deploy first; lsyncd:sqliteSafe false does not install it";

/** The last line that is not empty. */
const lastLine = (text: string): string | undefined => text.split("\n").findLast((line) => line.trim() !== "");

/** Exit code: 0 no faults; 1 a host has faults; 2 something could not be checked. */
export function exitCode(reports: HostReport[]): 0 | 1 | 2 {
  if (reports.some(({ result }) => result === "faults")) return 1;
  return reports.every(({ result }) => result === "fine") ? 0 : 2;
}

/** The table of all hosts, and below it every finding with its host. */
export function reportText(reports: HostReport[]): string {
  const head = ["host", "result", "files", "databases", "faults", "unchecked", "seconds"];
  const rows = reports.map(({ host, result, seconds, counts }) => [
    host,
    result,
    ...(counts ? [counts.files, counts.databases, counts.faults, counts.unchecked] : ["-", "-", "-", "-"]).map(String),
    seconds.toFixed(1),
  ]);
  const details = reports.flatMap(({ host, reason, findings }) => [
    ...(reason === undefined ? [] : [`${host}: ${reason}`]),
    ...findings.map(({ kind, text }) => `${host}: ${kind}: ${text}`),
  ]);
  if (details.length > 0) details.push("", "More: docs/on-a-host.md#verification");
  return [...columns([head, ...rows], 2), ...(details.length > 0 ? ["", ...details] : [])].join("\n");
}
