import { withoutReason as callWithoutReason } from "../../infra/commands";
import type { Restart } from "../../infra/files";
import { restartsOf } from "./catalogue";
import { deploymentChanges, scriptChange } from "./deployment";
import { made, secret, text, unmade, type Inputs, type Message, type Preview, type Step } from "./events";
import type { Lines } from "./lines";

/** One thing that changes on a host. */
export interface Change {
  /** A file's path, or a description such as `the activation's script`. */
  what: string;
  how: "added" | "changed" | "removed" | "changed by hand";
  /** The changed lines; absent if they contain a secret or there are none. */
  lines?: Lines;
  /** Why there are no lines. */
  note?: string;
  /** The service that a deployment restarts because of the change. */
  restart?: Exclude<Restart, "none">;
}

/** The result of a host's preflight in this preview. */
export type PreflightResult = "passed" | "passed with warnings" | "refused" | "could not be run" | "is not needed";

/** The outcome for one host. */
export interface HostReport {
  host: string;
  outcome: "new" | "changed" | "removed" | "unchanged";
  changes: Change[];
  /** The services that a deployment would restart: `lsyncd` costs a full pass over the volume. */
  restarts: Exclude<Restart, "none">[];
  /** The expected duration of a full pass in seconds, from the durations that the host has recorded. */
  pass?: number;
  preflight: PreflightResult;
  findings: Finding[];
}

/** One finding of a preflight, or the reason why it could not be run; without the host's name, so that equal ones match. */
export interface Finding {
  kind: "refuses" | "warns" | "could not be run";
  text: string;
}

/** The outcome for a stack. */
export interface StackReport {
  stack: string;
  /** Whether the preview finished without an error. */
  succeeded: boolean;
  hosts: HostReport[];
  /** Messages that are not about one host's preflight. */
  messages: Message[];
}

/** The reason appended to a step's command (infra/drift.ts); empty for a secret command. */
const reasonOf = (inputs: Inputs | undefined): string => {
  const call = text(inputs, "create");
  return call === secret ? "" : call.slice(callWithoutReason(call).length);
};

/** Whether a step runs again for a reason other than a setting. */
const runsAnew = (step: Step): boolean => reasonOf(step.old) !== reasonOf(step.new);

/** The change of a step other than the activation; undefined if it only runs again because files change. */
function stepChange(step: Step): Change | undefined {
  if (made.includes(step.op) || unmade.includes(step.op)) return undefined;
  const before = text(step.old, "stdin");
  const after = text(step.new, "stdin");
  // A hidden script contains a password, or files that the activation already lists.
  return before === secret || after === secret ? undefined : scriptChange(step.part, before, after);
}

const isStep = (step: Step): boolean => step.type === "command:remote:Command";

/** The numbered items in the preflight's output, each with its continuation lines. */
function items(text: string): string[] {
  const found: string[][] = [];
  for (const line of text.split("\n")) {
    const first = /^ {2}\d+\. (.*)$/.exec(line)?.[1];
    if (first !== undefined) found.push([first]);
    else if (/^ {5}/.test(line)) found.at(-1)?.push(line.slice(5));
  }
  return found.map((lines) => lines.join("\n"));
}

/** One change by hand, as the program reports it (infra/drift.ts). */
function driftChange(item: string, restarts: Map<string, Restart>): Change {
  const [first = "", ...lines] = item.split("\n");
  const [what = "", how = "differs"] = /^(package \S+|\S+) (.*)$/.exec(first)?.slice(1) ?? [first];
  const restart = restarts.get(what);
  const count = (sign: string): number => lines.filter((line) => line.startsWith(sign)).length;
  return {
    ...{ what, how: "changed by hand" },
    ...(count("@@") > 0
      ? { lines: { added: count("+"), removed: count("-"), text: lines } }
      : { note: `${how}; a deployment repairs it` }),
    ...(restart === undefined || restart === "none" ? {} : { restart }),
  };
}

/** The findings of a host's preflight in this preview (infra/commands/preflight.sh, infra/observe.ts). */
function preflightOf(host: string, messages: Message[]): { findings: Finding[]; used: Message[] } {
  const findings: Finding[] = [];
  const used = messages.filter(({ text }) => {
    if (
      new RegExp(`^${literal(host)} (could not be reached|was not contacted|was skipped|did not answer)\\b`).test(text)
    ) {
      // Without the host's address, so that many hosts with the same error are reported once.
      const why = text
        .slice(host.length + 1)
        .replace(/\nMore: .*$/, "")
        .replace(/^(?:could not be reached|was not contacted), its preflight was not run: /, "")
        .replace(/^\S+@\S+ port \d+: /, "")
        .replace(/ [\d.]+:\d+$| \[?[\da-f]*:[\da-f:.]+\]?:\d+$/i, "");
      findings.push({ kind: "could not be run", text: why });
      return true;
    }
    // One message may contain a list of warnings and a list of refusals, each below its heading.
    const lists = text.split(/^(?=Preflight )/m);
    const mine = lists.filter((list) => new RegExp(`^Preflight [a-z ]+ ${literal(host)} \\(`).test(list));
    for (const list of mine) {
      const kind = list.startsWith("Preflight refuses") ? "refuses" : "warns";
      findings.push(...items(list).map((item) => ({ kind, text: item }) as const));
    }
    return mine.length > 0;
  });
  return { findings, used };
}

const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");

function resultOf(findings: Finding[]): PreflightResult {
  const has = (kind: Finding["kind"]): boolean => findings.some((finding) => finding.kind === kind);
  if (has("refuses")) return "refused";
  if (has("could not be run")) return "could not be run";
  return has("warns") ? "passed with warnings" : "passed";
}

// The most expensive changes come first; then changes before additions, and paths in order, whatever the engine's order.
const rank = ({ restart, how }: Change): number =>
  [undefined, "monitor", "lsyncd"].indexOf(restart) * -10 +
  ["changed by hand", "changed", "removed", "added"].indexOf(how);
/** Orders changes: what restarts lsyncd first. */
export const byRank = (a: Change, b: Change): number => rank(a) - rank(b) || (a.what < b.what ? -1 : 1);

function hostReport(
  host: string,
  steps: Step[],
  messages: Message[],
  known: Map<string, Restart>,
  pass: number | undefined,
): { report: HostReport; used: Message[] } {
  const changes: Change[] = [];
  const restarts = new Set<Exclude<Restart, "none">>();

  const commands = steps.filter((step) => isStep(step) && step.op !== "same" && !step.part.startsWith("file-"));
  const activation = steps.find((step) => step.part === "activation");
  const isNew = activation !== undefined && made.includes(activation.op) && activation.old === undefined;
  const removed = activation !== undefined && unmade.includes(activation.op);
  for (const step of commands) {
    const change = step === activation ? deploymentChanges(step) : [stepChange(step)];
    changes.push(...change.filter((one) => one !== undefined));
  }
  for (const { restart } of changes) if (restart !== undefined) restarts.add(restart);
  if (
    !isNew &&
    commands.some(({ op, differing }) => op === "update" && differing.some((key) => /^connection\b/.test(key)))
  )
    changes.push({ what: "login", how: "changed", note: "not shown, it contains a secret" });
  const drift = messages.filter(({ text }) => text.startsWith(`Changed by hand on ${host} (`));
  for (const change of drift.flatMap(({ text }) => items(text)).map((item) => driftChange(item, known))) {
    changes.push(change);
    if (change.restart !== undefined) restarts.add(change.restart);
  }
  if (!isNew && drift.length === 0 && activation?.op === "update" && runsAnew(activation)) {
    const sent = commands.some((step) => step.part === "preflight" && runsAnew(step));
    const note = sent
      ? "nothing is deployed there now"
      : "deployed again: the state has no record of the last deployment";
    changes.push({ what: "everything", how: "changed", note });
  }

  const { findings, used } = preflightOf(host, messages);
  const report: HostReport = {
    host,
    outcome: isNew ? "new" : removed ? "removed" : changes.length > 0 ? "changed" : "unchanged",
    changes: changes.sort(byRank),
    restarts: removed || isNew ? [] : [...restarts].sort(),
    ...(pass === undefined ? {} : { pass }),
    preflight: removed ? "is not needed" : resultOf(findings),
    findings,
  };
  return { report, used: [...used, ...drift] };
}

/** Builds the report of a stack from a run of the engine. */
export function stackReport(preview: Preview, stack: string): StackReport {
  const names = [...new Set(preview.steps.flatMap(({ host }) => (host === undefined ? [] : [host])))];
  // The engine has no step for an unreachable host; its name comes from the messages.
  for (const { text } of preview.messages) {
    for (const [, refused, unreached] of text.matchAll(
      /^(?:Preflight refuses ([\w.-]+) \(|([\w.-]+) (?:could not be reached|was not contacted|was skipped|did not answer)\b)/gm,
    )) {
      const name = refused ?? unreached;
      if (name !== undefined && !names.includes(name)) names.push(name);
    }
  }
  names.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const known = restartsOf();
  const hosts = names.map((host) =>
    hostReport(
      host,
      preview.steps.filter((step) => step.host === host),
      preview.messages,
      known,
      preview.passes.get(host),
    ),
  );
  const used = new Set(hosts.flatMap((host) => host.used));
  const messages = preview.messages.filter((message) => !used.has(message));
  const succeeded = preview.succeeded === true;
  // A preflight that passes prints nothing. After an error that names no host, silence proves nothing.
  const doubtful = !succeeded && (messages.some(({ severity }) => severity === "error") || used.size === 0);
  return {
    stack,
    succeeded,
    hosts: hosts.map(({ report }) =>
      doubtful && report.preflight === "passed" ? { ...report, preflight: "could not be run" as const } : report,
    ),
    messages,
  };
}
