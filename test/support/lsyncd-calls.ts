import { readFileSync } from "node:fs";
import path from "node:path";

/** What lsyncd passed to rsync in one step of record-lsyncd.sh: its options, and the paths of its lists. */
export interface RecordedCall {
  step: string;
  options: string[];
  paths: string[];
}

/** The output of record-lsyncd.sh as this repository holds it: Debian 12 and 13 have the same lsyncd 2.2.3. */
export const recording = readFileSync(path.join(__dirname, "lsyncd-2.2.3.txt"), "utf8");

/** Reads the output of record-lsyncd.sh. */
export function readRecording(text: string): RecordedCall[] {
  const words = (lines: string[], kind: string): string[] =>
    lines.filter((line) => line.startsWith(`${kind} `)).map((line) => line.slice(kind.length + 1));
  return text
    .split("\n.\n")
    .filter((part) => part !== "")
    .map((part) => part.split("\n"))
    .map((lines) => ({
      step: words(lines, "step")[0] ?? "",
      options: words(lines, "option"),
      paths: words(lines, "path"),
    }));
}
