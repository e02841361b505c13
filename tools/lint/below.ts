import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Perl that goes below a volume by handle, and all else that may name what is in one: the module of handles. */
const byHandle = /\/LsyncdAsCode\/(Beneath|System)\.pm$/;

/** Variables that hold the path of a volume, in the programs of a host. */
const volume = String.raw`\$\{?(?:lsyncd_)?(?:source|target|SOURCE|TARGET|volume|VOLUME)\}?`;
/** Something below it: `"$source/$name"`, `$target . "/x"`. */
const below = String.raw`(?:${volume}["']?/|${volume} ?\. ?["']/)`;

/** What changes an entry, or opens one for writing, in the shell: by its path, which leads where the application's user wants. */
const shell = [
  new RegExp(
    String.raw`(?:^|[;&|({]|\b(?:then|do|else|start \w+)\b)\s*(?:command )?(?:rm|rmdir|mv|ln|link|unlink|cp|install|mkdir|mkfifo|mknod|touch|truncate|chmod|chown|chgrp|tee|dd|setfattr)\b[^;|]*["' =]${below}`,
  ),
  new RegExp(String.raw`>{1,2}\|?\s*"?${below}`),
  new RegExp(String.raw`(?:^|[\s;(])(?:<|exec \d*<)\s*"?${below}`),
];

/** The same in Perl: opens, too, for an open follows links, and waits for the other end of a FIFO. */
const perl = [
  new RegExp(
    String.raw`\b(?:sysopen|open|opendir|unlink|rename|link|symlink|mkdir|rmdir|chmod|chown|utime|truncate|mknod|mkfifo)\b[^;]*${below}`,
  ),
];

/** Lines of a program for a host that go below a volume by a path, as `file:line: text`. */
export function belowByPath(name: string, text: string): string[] {
  if (byHandle.test(name)) return [];
  const patterns = name.endsWith(".pm") || /^#!.*\bperl\b/.test(text) ? perl : shell;
  return text
    .split("\n")
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => !/^\s*#/.test(line) && patterns.some((pattern) => pattern.test(line)))
    .map(({ line, number }) => `${name}:${String(number)}: goes below a volume by a path: ${line.trim()}`);
}

/**
 * Root walks below a volume by handle only. What goes there by a path in the programs of a host, templates/usr/local;
 * `volume-file` and LsyncdAsCode::Beneath do it by handle.
 */
export function programsBelowByPath(root: string): string {
  const folder = join(root, "templates/usr/local");
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort()
    .flatMap((path) => belowByPath(path.slice(root.length + 1), readFileSync(path, "utf8")))
    .join("\n");
}
