import { visible } from "../../infra/text";
import { changesOf, signs } from "./markdown";
import type { StackReport } from "./report";

// Escape sequences (ECMA-48, SGR).
const bold = "\x1b[1m";
const reset = "\x1b[0m";
const colourOf = (line: string): string =>
  line.startsWith("@@") ? "\x1b[36m" : line.startsWith("+") ? "\x1b[32m" : line.startsWith("-") ? "\x1b[31m" : "";

/** The changes of a stack's hosts with the changed lines, for a terminal; equal changes appear once. Empty if nothing changes. */
export function changesText(report: StackReport, colours: boolean): string {
  const styled = (style: string, text: string): string => (colours && style !== "" ? `${style}${text}${reset}` : text);
  return changesOf(report)
    .map(({ change, names }) => {
      const how = change.lines && change.how === "changed" ? "" : ` ${change.how}`;
      const end = change.lines ? `: ${signs(change)}` : change.note === undefined ? "" : `: ${visible(change.note)}`;
      const lines = change.lines?.text.map((line) => `  ${styled(colourOf(line), visible(line))}`) ?? [];
      return [`${styled(bold, visible(change.what))}${how} on ${names}${end}`, ...lines].join("\n");
    })
    .join("\n\n");
}

/** Whether to print colours: `--color` decides (always, never), otherwise whether the output is a terminal. */
export function withColours(flags: string[], isTerminal: boolean): boolean {
  const index = flags.findIndex((flag) => /^--color(=|$)/.test(flag));
  const value = index < 0 ? "auto" : (/=(.*)$/.exec(flags[index] ?? "")?.[1] ?? flags[index + 1]);
  return (
    value === "always" || (value !== "never" && value !== "raw" && isTerminal && process.env.NO_COLOR === undefined)
  );
}
