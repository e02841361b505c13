import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** The pages whose commands the drill runs, in this order. */
export const drillPages = ["docs/disaster-recovery.md", "docs/replace-the-primary.md"];

/** The text of these pages, one after the other. */
export const readDrillPages = (): string =>
  drillPages.map((page) => readFileSync(join(resolve(__dirname, "../.."), page), "utf8")).join("\n");

/** The two ways on which the pages lead from a failover to a primary with a mirror. */
export const ways = ["restore", "reverse"] as const;

/** `restore`: back to a new primary. `reverse`: the mirror stays the primary. */
export type Way = (typeof ways)[number];

/** A step of the drill, in the order of the pages. */
export type Step = { title: string } & (
  | {
      kind: "command";
      /** The command that the reader types. */
      command: string;
      where: "host" | "workstation";
      /** The exit codes of success. */
      accept: number[];
      /** The text that each line of its output must be; empty if it prints nothing. */
      prints?: string;
      /** The name by which later commands refer to its output. */
      keep?: string;
    }
  /** A command that a sandbox cannot run; the title gives the reason. */
  | { kind: "skip"; command: string }
  /** An event on the host in between, by its name. */
  | { kind: "event" }
);

const marker = /^<!-- drill(?<words>( [^:]+)?): (?<title>.+) -->$/;

/**
 * The steps of a page, for one way. A comment before a block of shell defines what the drill does with it:
 *
 *   `<!-- drill [restore|reverse] [skip|workstation] [accept=CODES] [prints=LINE] [keep=NAME]: TITLE -->`
 *   `<!-- drill [restore|reverse] event: NAME -->`, which stands alone
 *
 * Throws if a block of shell has no comment, because it would be untested.
 */
export function readSteps(page: string, way: Way): Step[] {
  const lines = page.split("\n");
  const steps: Step[] = [];
  let waiting: { words: string[]; title: string } | undefined;
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? "";
    const found = marker.exec(line)?.groups;
    if (found) {
      const words = (found.words ?? "").split(" ").filter((word) => word !== "");
      const next = { words, title: found.title ?? "" };
      if (!words.includes("event")) waiting = next;
      else if (concerns(words, way)) steps.push({ kind: "event", title: next.title });
    } else if (line.startsWith("```bash")) {
      const end = lines.indexOf("```", at);
      const command = lines.slice(at + 1, end).join("\n");
      if (!waiting) throw new Error(`line ${String(at + 1)}: no comment says what the drill does with: ${command}`);
      if (concerns(waiting.words, way)) steps.push(stepOf(waiting, command));
      waiting = undefined;
      at = end;
    }
  }
  return steps;
}

const concerns = (words: string[], way: Way): boolean => {
  const named = ways.filter((one) => words.includes(one));
  return named.length === 0 || named.includes(way);
};

function stepOf({ words, title }: { words: string[]; title: string }, command: string): Step {
  if (words.includes("skip")) return { kind: "skip", title, command };
  const value = (name: string): string | undefined =>
    words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  const prints = value("prints");
  const keep = value("keep");
  return {
    kind: "command",
    title,
    command,
    where: words.includes("workstation") ? "workstation" : "host",
    accept: (value("accept") ?? "0").split(",").map(Number),
    ...(prints === undefined ? {} : { prints }),
    ...(keep === undefined ? {} : { keep }),
  };
}
