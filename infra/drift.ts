import { visible } from "./text";

/** Something on a host that is not as it was deployed. */
export interface Difference {
  /** A file's path, a unit, a package or a setting of the kernel. */
  what: string;
  /** In what it differs, as the end of a sentence. */
  how: string;
  /** The way back of a file with other content, as lines of a unified diff: `-` is what is there now. */
  lines: string[];
}

/** What a host said when it was looked at. */
export interface Look {
  /** Whether it answered. Nothing else is known of one that did not. */
  answered: boolean;
  /** Whether anything is deployed there by this stack. */
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

/** What is known of a host that did not answer. */
export const unanswered: Look = { answered: false, deployed: false, drift: [], passes: [], staged: [] };

// A time, as `reasons` makes it. The output of a host is written into commands: nothing else is taken from it.
const aRun = /^\d{8}T\d{6}Z$/;

/** Reads what look.sh prints; `said` is what comes after it, from the preflight. Undefined when it was cut short. */
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

/** Why commands are called although no setting has changed; undefined for no reason, and never any. */
export interface Reasons {
  /** Of those that repair: packages and activation. */
  run: string | undefined;
  /** Of the preflight, which leaves files with secrets: a host that differs keeps copies of them, one with nothing on it does not. */
  first: string | undefined;
}

/**
 * What commands are called with beside their settings: a word that is another one when they must run although no setting
 * has changed. The host keeps the words of the activation in force, so that they stay the same, and the next deployment is
 * quiet, until the host differs again. `now` is the time of this run.
 */
export function reasons({ deployed, run, since, drift }: Look, now: Date): Reasons {
  const again = now.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  if (!deployed) return { run: again, first: again };
  return { run: drift.length === 0 ? run : again, first: since };
}

/** What was changed by hand, for a person; numbered, with the lines of files below. */
export function describeDrift(name: string, address: string, drift: Difference[]): string {
  const items = drift.map(({ what, how, lines }, index) =>
    [`  ${String(index + 1)}. ${what} ${how}`, ...lines.map((line) => `     ${line}`)].map(visible).join("\n"),
  );
  return [`Changed by hand on ${name} (${address}), a deployment repairs it:`, ...items].join("\n");
}

/**
 * How long a full pass over a host's volume takes, as its last ones did: the seconds of the median, and of two in the middle
 * the longer. Undefined when none is known.
 */
export function expectedPass(passes: number[]): number | undefined {
  return [...passes].sort((a, b) => a - b)[Math.floor(passes.length / 2)];
}

/** The message by which a preview hears of it; `readExpectedPass` reads it. */
export function describePass(name: string, passes: number[]): string | undefined {
  const seconds = expectedPass(passes);
  return seconds === undefined ? undefined : `A full pass on ${name} takes ${String(seconds)} s.`;
}

/** The host and the seconds of such a message; undefined for any other text. */
export function readExpectedPass(text: string): { host: string; seconds: number } | undefined {
  const [, host, seconds] = /^A full pass on (\S+) takes (\d{1,8}) s\.$/.exec(text) ?? [];
  return host === undefined ? undefined : { host, seconds: Number(seconds) };
}
