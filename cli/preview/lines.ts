import { structuredPatch } from "diff";
import { visible } from "../../infra/text";

/** Lines of context around a change. */
const context = 2;

/** Longer lines are truncated. */
const longest = 400;

/** The difference between two texts. */
export interface Lines {
  added: number;
  removed: number;
  /** As in a unified diff: `@@ …` before each hunk, and lines that begin with a blank, `-` or `+`. */
  text: string[];
}

const shown = (line: string): string => {
  const plain = visible(line);
  return plain.length > longest ? `${plain.slice(0, longest)} …` : plain;
};

/** Compares two texts line by line. */
export function compareLines(before: string, after: string): Lines {
  const { hunks } = structuredPatch("", "", before, after, "", "", { context });
  const lines = hunks.flatMap((hunk) => hunk.lines);
  return {
    added: lines.filter((line) => line.startsWith("+")).length,
    removed: lines.filter((line) => line.startsWith("-")).length,
    text: hunks.flatMap(({ oldStart, oldLines, newStart, newLines, lines }) => [
      `@@ -${oldStart},${oldLines} +${newStart},${newLines} @@`,
      ...lines.filter((line) => !line.startsWith("\\")).map(shown),
    ]),
  };
}
