import { visible } from "../../infra/text";
import { escapeXml } from "../xml";
import { countedList } from "./names";
import { byRank, type Change, type Finding, type HostReport, type StackReport } from "./report";

/** GitHub's limit for a comment, in characters. This program counts bytes, which are never fewer. */
export const commentLimit = 65536;

/** The first line of a comment. The next run uses it to find the comment to update. */
export const marker = "<!-- preview of lsyncd as code -->";

/**
 * Limits: rows of a table, and lines of a change, of a new file and of a message, beyond which the rest is only
 * counted; and characters per line.
 */
const most = { rows: 60, changed: 150, added: 40, said: 60, wide: 400 };

const bytes = (text: string): number => Buffer.byteLength(text);
const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;
const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** Inline code with any content, so that a host's output is never interpreted as Markdown. */
function code(text: string): string {
  const plain = visible(text).replaceAll(/\s+/g, " ");
  const fence = "`".repeat(longestRun(plain) + 1);
  // Markdown strips the blanks at both ends.
  const pad = /^`|`$/.test(plain) ? " " : "";
  return `${fence}${pad}${plain}${pad}${fence}`;
}

/** Plain words unchanged, anything else as code. */
const words = (text: string): string =>
  /^[A-Za-z][\w ,.:;()/-]*$/.test(text) && !/\/\/|www\./i.test(text) ? text : code(text);

const html = (text: string): string => escapeXml(visible(text));

const longestRun = (text: string): number => Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length));

/** The lines of a text, truncated: a host may print any amount. */
function clipped(text: string): string[] {
  const lines = text.split("\n").map((line) => (line.length > most.wide ? `${line.slice(0, most.wide)} …` : line));
  const hidden = lines.length - most.said;
  return hidden > 0 ? [...lines.slice(0, most.said), `… ${hidden} more lines`] : lines;
}

/** A code block whose fence is longer than any in its text, so that the text cannot close it. */
function fenced(language: string, lines: string[]): string {
  const fence = "`".repeat(Math.max(3, longestRun(lines.join("\n")) + 1));
  return [`${fence}${language}`, ...lines, fence].join("\n");
}

/** Groups items by key, in the order of first appearance. */
function grouped<T>(items: T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    groups.set(name, [...(groups.get(name) ?? []), item]);
  }
  return [...groups.values()];
}

/** Sort order: hosts that need attention come first. */
const urgency = ({ preflight, outcome }: HostReport): number => {
  const failure = ["refused", "could not be run"].indexOf(preflight);
  return failure >= 0 ? failure : 2 + ["removed", "new", "changed", "unchanged"].indexOf(outcome);
};

/** A short description of what changes on a host. */
export function outcomeText({ outcome, changes }: HostReport): string {
  if (outcome === "unchanged") return "nothing";
  if (outcome === "removed") return "**removed**: lsyncd stops, installed files are removed, both volumes stay";
  const files = changes.filter(({ how }) => how === "added").length;
  if (outcome === "new") return `**new**: ${plural(files, "file")}, and missing packages`;
  const names = changes.map(({ what, how }) => `${words(what)}${how === "changed" ? "" : ` (${how})`}`);
  return names.length > 4 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}

/** A short description of what a deployment restarts on a host. */
export function restartText({ outcome, restarts }: HostReport): string {
  if (outcome === "new") return "lsyncd starts: a first full pass";
  if (outcome === "removed") return "lsyncd stops";
  const names = { lsyncd: "**lsyncd**: a full pass over the volume", monitor: "the monitor's timer" };
  return restarts.length === 0 ? "nothing" : restarts.map((name) => names[name]).join(", ");
}

const preflightText = ({ preflight }: HostReport): string =>
  ({
    passed: "passed",
    "passed with warnings": "passed, with warnings",
    refused: "❌ **refused**",
    "could not be run": "⚠️ could not be run",
    "is not needed": "not needed",
  })[preflight];

/** A duration: in seconds up to two minutes, then in minutes, then in hours. */
function duration(seconds: number): string {
  if (seconds < 120) return `${Math.max(1, seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** The expected duration of the full passes of these hosts; `-` if a deployment causes none. */
export function passText(hosts: HostReport[]): string {
  const [first] = hosts;
  if (first?.outcome === "new") return "not known yet";
  if (first?.restarts.includes("lsyncd") !== true) return "-";
  const known = hosts.flatMap(({ pass }) => pass ?? []);
  if (known.length === 0) return "none recorded";
  const [least, most] = [Math.min(...known), Math.max(...known)].map(duration);
  const range = least === most ? `${least}` : `${least} to ${most}`;
  const rest = hosts.length - known.length;
  return `about ${range}${rest === 0 ? "" : `, not known on ${rest}`}`;
}

/** One row for all hosts with the same changes. */
export interface Row {
  hosts: string[];
  changes: string;
  restarts: string;
  /** The expected duration of the full pass. */
  pass: string;
  preflight: string;
}

/** The rows of a stack's table; those that need attention come first. */
export function rows({ hosts }: StackReport): Row[] {
  const sorted = [...hosts].sort((a, b) => urgency(a) - urgency(b));
  const rows = sorted.map((host) => ({
    host,
    changes: outcomeText(host),
    restarts: restartText(host),
    preflight: preflightText(host),
  }));
  return grouped(rows, ({ changes, restarts, preflight }) => JSON.stringify([changes, restarts, preflight])).map(
    (group) => ({
      hosts: group.map(({ host }) => host.host),
      changes: group[0]?.changes ?? "",
      restarts: group[0]?.restarts ?? "",
      pass: passText(group.map(({ host }) => host)),
      preflight: group[0]?.preflight ?? "",
    }),
  );
}

/** One sentence about a stack. */
export function headline({ hosts, succeeded }: StackReport): string {
  const count = (outcome: HostReport["outcome"]): number => hosts.filter((host) => host.outcome === outcome).length;
  const parts = [
    [count("new"), "new"],
    [count("changed"), "to change"],
    [count("removed"), "to remove"],
    [count("unchanged"), "unchanged"],
  ] as const;
  const counts = parts.filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`);
  const restarted = hosts.filter(({ restarts }) => restarts.includes("lsyncd")).length;
  const refused = hosts.filter(({ preflight }) => preflight === "refused").length;
  const unknown = hosts.filter(({ preflight }) => preflight === "could not be run").length;
  const sentences = [
    hosts.length === 0 ? "No host was checked." : `${plural(hosts.length, "host")}: ${counts.join(", ")}.`,
    ...(restarted > 0 ? [`lsyncd restarts on ${restarted}.`] : []),
    ...(refused > 0 ? [`The preflight refuses ${refused}.`] : []),
    ...(unknown > 0 ? [`The preflight could not be run on ${unknown}.`] : []),
    ...(succeeded ? [] : ["**The preview failed.**"]),
  ];
  return sentences.join(" ");
}

function table(report: StackReport): string {
  const all = rows(report);
  const shown = all.slice(0, most.rows);
  const rest = all.slice(most.rows).flatMap(({ hosts }) => hosts);
  const lines = shown.map(({ hosts, changes, restarts, pass, preflight }) =>
    [countedList(hosts), changes, restarts, pass, preflight].map(cell).join(" | "),
  );
  if (rest.length > 0) lines.push(`… and ${plural(rest.length, "host")} more | | | |`);
  return [
    "| hosts | what changes | what restarts | full pass | preflight |",
    "| --- | --- | --- | --- | --- |",
    ...lines.map((line) => `| ${line} |`),
  ].join("\n");
}

/** The lines added and removed, and what a deployment restarts because of the change. */
export const signs = ({ lines, restart }: Change): string => {
  const counts = lines ? `+${lines.added} −${lines.removed}` : "";
  return restart === undefined
    ? counts
    : `${counts}, restarts ${restart === "lsyncd" ? "lsyncd" : "the monitor's timer"}`;
};

/** The findings of the preflights; equal ones appear once, with their hosts. */
function findings({ hosts }: StackReport): string[] {
  const all = hosts.flatMap((host) => host.findings.map((finding) => ({ host: host.host, finding })));
  const about = (kind: Finding["kind"]): string[] => {
    const found = all.filter(({ finding }) => finding.kind === kind);
    if (found.length === 0) return [];
    const lines = grouped(found, ({ finding }) => finding.text).flatMap((group) => [
      `${countedList(group.map(({ host }) => host))}:`,
      ...clipped(group[0]?.finding.text ?? "").map((line) => `  ${line}`),
    ]);
    const names = countedList([...new Set(found.map(({ host }) => host))]);
    const said = { refuses: "refuses", warns: "warns about", "could not be run": "could not be run on" }[kind];
    return [
      `<details${kind === "warns" ? "" : " open"}><summary>The preflight ${said} ${names}</summary>\n\n${fenced("text", lines)}\n\n</details>`,
    ];
  };
  return [...about("refuses"), ...about("could not be run"), ...about("warns")];
}

/** The changes on existing hosts, with the hosts' names: equal changes once, those that restart lsyncd first. */
export function changesOf({ hosts }: StackReport): { change: Change; names: string }[] {
  const all = hosts
    .filter(({ outcome }) => outcome === "changed")
    .flatMap((host) => host.changes.map((change) => ({ host: host.host, change })));
  return grouped(all, ({ change }) => JSON.stringify(change))
    .flatMap((group) =>
      group[0] ? [{ change: group[0].change, names: countedList(group.map(({ host }) => host)) }] : [],
    )
    .sort((a, b) => byRank(a.change, b.change));
}

/** The changed lines. */
function changes(report: StackReport): string[] {
  const all = changesOf(report);
  const total = all.reduce((sum, { change }) => sum + (change.lines?.text.length ?? 0), 0);
  return all.map(({ change, names }) => {
    const summary = `<code>${html(change.what)}</code> ${change.how === "changed" ? "" : `${change.how} `}on ${names}: ${signs(change)}`;
    if (!change.lines)
      return `- ${code(change.what)} ${change.how} on ${names}${change.note ? `: ${words(change.note)}` : ""}`;
    const shown = change.lines.text.slice(0, change.how === "added" ? most.added : most.changed);
    const hidden = change.lines.text.length - shown.length;
    const block = fenced("diff", [...shown, ...(hidden > 0 ? [`… ${hidden} more lines`] : [])]);
    return `<details${total <= 80 ? " open" : ""}><summary>${summary}</summary>\n\n${block}\n\n</details>`;
  });
}

function messages({ messages }: StackReport): string[] {
  const texts = messages.map(({ severity, text }) => `${severity}: ${text}`);
  return texts.length === 0 ? [] : [fenced("text", texts.flatMap(clipped))];
}

/** Writes the comment for one or more stacks: all tables, then as much of the rest as fits. */
export function comment(reports: StackReport[], limit = commentLimit): string {
  if (reports.length === 0) return `${marker}\nThis change affects no stack.\n`;
  const hint = (stack: string, left: number): string =>
    `_${plural(left, "part")} did not fit here. To see all: \`npm run preview -- --stack ${stack}\`_`;
  const sections = reports.map((report) => ({
    report,
    head: `## Preview of \`${report.stack}\`\n\n${headline(report)}${report.hosts.length > 0 ? `\n\n${table(report)}` : ""}`,
    // Errors come first, so that they are always shown.
    parts: [...messages(report), ...findings(report), ...changes(report)],
    taken: [] as string[],
    left: 0,
  }));
  let room =
    limit -
    bytes(`${marker}\n`) -
    sections.reduce((sum, { head, report }) => sum + bytes(head) + bytes(hint(report.stack, 1000)) + 4, 0);
  for (const section of sections) {
    for (const part of section.parts) {
      const size = bytes(part) + 2;
      if (size <= room) {
        section.taken.push(part);
        room -= size;
      } else section.left += 1;
    }
  }
  const texts = sections.map(({ head, taken, left, report }) =>
    [head, ...taken, ...(left > 0 ? [hint(report.stack, left)] : [])].join("\n\n"),
  );
  return `${marker}\n${texts.join("\n\n")}\n`;
}

/** The table of a stack for a terminal. */
export function summary(report: StackReport): string {
  const plain = (text: string): string => text.replaceAll("**", "").replaceAll("`", "");
  const lines = [
    ["hosts", "what changes", "what restarts", "full pass", "preflight"],
    ...rows(report).map(({ hosts, ...rest }) =>
      [countedList(hosts), rest.changes, rest.restarts, rest.pass, rest.preflight].map(plain),
    ),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const table = lines.map((line) =>
    line
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join("   ")
      .trimEnd(),
  );
  // The engine has also printed these, perhaps hundreds of lines above.
  const failures = report.hosts.flatMap(({ host, findings }) =>
    findings
      .filter(({ kind }) => kind !== "warns")
      .map(({ kind, text }) => ({ host, why: `the preflight ${kind}: ${text}` })),
  );
  const items = grouped(failures, ({ why }) => why).map((group) => {
    const hosts = countedList(group.map(({ host }) => host));
    return `  ${hosts}: ${group[0]?.why.replaceAll("\n", "\n    ") ?? ""}`;
  });
  return [
    plain(headline(report)),
    "",
    ...(report.hosts.length > 0 ? table.map((line) => `  ${line}`) : []),
    ...(items.length > 0 ? ["", ...items] : []),
  ].join("\n");
}
