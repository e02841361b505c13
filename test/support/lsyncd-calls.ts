import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { renderFiles } from "../../infra/files";
import { paths } from "../../infra/paths";
import { hostOf } from "../../tools/lint/samples";

/** The arguments of rsync in one step of record-lsyncd.sh: its options, and the paths in its lists. */
export interface RecordedCall {
  step: string;
  options: string[];
  paths: string[];
}

/** The recorded output of record-lsyncd.sh in this repository: Debian 12 and 13 have the same lsyncd 2.2.3. */
export const recording = readFileSync(path.join(__dirname, "lsyncd-2.2.3.txt"), "utf8");

/** Parses the output of record-lsyncd.sh. */
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

/**
 * Writes the lsyncd.conf.lua of a host into a folder, for directories in it and the recorder there. Returns the arguments of
 * record-lsyncd.sh, for who sees that folder at `seen`.
 */
export function prepareRecording(folder: string, seen = folder, settings: { delay?: number } = {}): string[] {
  const [source, target] = [path.join(seen, "source"), path.join(seen, "target")];
  const files = renderFiles(hostOf({ ...settings, source: `${source}/`, target: `${target}/` }));
  const content = (at: string): string => files.find((file) => file.path === at)?.content ?? "";
  const parts = [paths.lsyncdLog, paths.lsyncdDelays];
  for (const part of parts) writeFileSync(path.join(folder, path.basename(part)), content(part));
  const text = parts
    .reduce((all, part) => all.replaceAll(part, path.join(seen, path.basename(part))), content(paths.configFile))
    // A lsyncd that lsyncd-delays.lua does not know is an error here.
    .replace('log("Warn",', "error(table.concat {")
    .replace(/faster\)\nend$/m, "faster })\nend")
    .replaceAll(paths.mirrorProgram, path.join(seen, "recorder"))
    .replaceAll(paths.guard, "/bin/true")
    .replaceAll(path.dirname(paths.logFile), seen);
  writeFileSync(path.join(folder, "lsyncd.conf.lua"), text);
  return [seen, source, target, "lsyncd", "-nodaemon", path.join(seen, "lsyncd.conf.lua")];
}
