import { visible } from "./text";

/** A difference between a host and its deployment. */
export interface Difference {
  /** A file's path, a unit, a package or a kernel setting. */
  what: string;
  /** How it differs, as the end of a sentence. */
  how: string;
  /** The change that restores a file, as lines of a unified diff: `-` is the current content. */
  lines: string[];
}

/** A host's answer to an inspection. */
export interface Look {
  /** Whether it answered. If not, the other values are unknown. */
  answered: boolean;
  /** Whether this stack has deployed anything there. */
  deployed: boolean;
  /** The runs that the activation in force and the first one there belong to; see reasons. */
  run?: string;
  since?: string;
  drift: Difference[];
  /** Seconds of the last full passes over the volume, oldest first. */
  passes: number[];
  /** The paths of the files there, when a version has deployed them that sent each by itself; see takeover.ts. */
  staged: string[];
}

/** The values for a host that did not answer. */
export const unanswered: Look = { answered: false, deployed: false, drift: [], passes: [], staged: [] };

// A time in the format of `reasons`. The host's answer is written into commands, so nothing else is accepted.
const aRun = /^\d{8}T\d{6}Z$/;

/** Parses the output of look.sh; `said` is the preflight's output after it. Undefined if the output is incomplete. */
export function parseLook(stdout: string): { look: Look; said: string } | undefined {
  const end = /^looked\n/m.exec(stdout);
  if (!end) return undefined;
  const look: Look = { ...unanswered, answered: true, deployed: true, drift: [], passes: [], staged: [] };
  for (const line of stdout.slice(0, end.index).split("\n")) {
    const [word, ...rest] = line.split("\t");
    const [first = ""] = rest;
    if ((word === "run" || word === "since") && aRun.test(first)) look[word] = first;
    else if (word === "new") look.deployed = false;
    else if (word === "pass" && /^\d{1,8}$/.test(first)) look.passes.push(Number(first));
    else if (word === "staged") look.staged.push(first);
    else if (word === "drift") look.drift.push({ what: first, how: rest.slice(1).join("\t"), lines: [] });
    else if (word === "line") look.drift.at(-1)?.lines.push(rest.join("\t"));
  }
  return { look, said: stdout.slice(end.index + end[0].length) };
}

/** Why commands run although no setting has changed; undefined if there has never been a reason. */
export interface Reasons {
  /** For the commands that repair: packages and activation. */
  run: string | undefined;
  /** For the preflight, which sends files with secrets: a host with changes still has copies of them, a new one does not. */
  first: string | undefined;
}

/**
 * An extra word in commands. A new word makes them run although no setting has changed. The host keeps the words of the active
 * deployment: as long as it does not differ, they stay the same and the next deployment changes nothing.
 * `now` is the time of this run.
 */
export function reasons({ deployed, run, since, drift }: Look, now: Date): Reasons {
  const again = now.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  if (!deployed) return { run: again, first: again };
  return { run: drift.length === 0 ? run : again, first: since };
}

/** A message that lists the changes by hand: numbered, with the changed lines below. */
export function describeDrift(name: string, address: string, drift: Difference[]): string {
  const items = drift.map(({ what, how, lines }, index) =>
    [`  ${String(index + 1)}. ${what} ${how}`, ...lines.map((line) => `     ${line}`)].map(visible).join("\n"),
  );
  return [`Changed by hand on ${name} (${address}), a deployment repairs it:`, ...items].join("\n");
}

/**
 * The expected duration of a full pass over a host's volume in seconds: the median of its last ones, the longer of two in the
 * middle. Undefined if none is known.
 */
export function expectedPass(passes: number[]): number | undefined {
  return [...passes].sort((a, b) => a - b)[Math.floor(passes.length / 2)];
}

/** The message that passes this to a preview; `readExpectedPass` parses it. */
export function describePass(name: string, passes: number[]): string | undefined {
  const seconds = expectedPass(passes);
  return seconds === undefined ? undefined : `A full pass on ${name} takes ${String(seconds)} s.`;
}

/** Parses such a message; undefined for any other text. */
export function readExpectedPass(text: string): { host: string; seconds: number } | undefined {
  const [, host, seconds] = /^A full pass on (\S+) takes (\d{1,8}) s\.$/.exec(text) ?? [];
  return host === undefined ? undefined : { host, seconds: Number(seconds) };
}
