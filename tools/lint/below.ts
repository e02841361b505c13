import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Perl that goes below a volume by handle, and all else that may name what is in one: the module of handles. */
const byHandle = /\/LsyncdAsCode\/(Beneath|System)\.pm$/;

const names = "(?:lsyncd_)?(?:source|target|SOURCE|TARGET|volume|VOLUME)";
/** A quote, if there is one. */
const quote = `["']?`;

/** A language in which programs of a host are written. */
interface Language {
  /** The path of a volume: a variable, a setting. */
  volume: string;
  /** A variable by its name. */
  variable: (name: string) => string;
  /** The separator between the path of a directory and a name in it. */
  below: string;
  /** A variable that is given the path of something below a volume, whose name is the first group. */
  assigned: (path: string) => RegExp;
  /** A command that uses such a path, or enters a volume by its path, so that a bare name would lead there. */
  goes: (path: string, volume: string) => RegExp[];
  /** The text's statements, each with the number of its first line. */
  statements: (text: string) => { text: string; line: number }[];
}

/** Joins continued lines. Comments are left out. */
function joined(text: string, goesOn: (line: string) => boolean): { text: string; line: number }[] {
  const statements: { text: string; line: number }[] = [];
  let open = false;
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*#/.test(line)) continue;
    const last = statements.at(-1);
    if (open && last) last.text += ` ${line.trim()}`;
    else statements.push({ text: line, line: index + 1 });
    open = goesOn(line);
  }
  return statements;
}

const changes =
  "rm|rmdir|mv|ln|link|unlink|cp|install|mkdir|mkfifo|mknod|touch|truncate|chmod|chown|chgrp|tee|dd|setfattr|shred";
/** Where a command begins in a line of the shell. */
const begins = String.raw`(?:^|[;&|({]|\b(?:then|do|else|start \w+|exec|nice -n \d+|timeout \S+|sudo)\b)\s*(?:command )?`;

const shell: Language = {
  volume: String.raw`\$\{?${names}(?::\?[^}]*)?\}?`,
  variable: (name) => String.raw`\$\{?${name}(?:\b|\})`,
  below: `${quote}/`,
  assigned: (path) => new RegExp(String.raw`\b(\w+)=${quote}(?:${path})`, "g"),
  goes: (path, volume) => [
    new RegExp(String.raw`${begins}(?:${changes})\b[^;|]*["' =](?:${path})`),
    new RegExp(String.raw`>{1,2}\|?\s*"?(?:${path})`),
    new RegExp(String.raw`(?:^|[\s;(])(?:<|exec \d*<)\s*"?(?:${path})`),
    new RegExp(String.raw`${begins}(?:cat|head|tail|grep|sed|source|\.)\b[^;|]*["' ](?:${path})`),
    // Not within parentheses: a subshell that only looks.
    new RegExp(String.raw`(?:^|[;&|{]|\bthen|\bdo)\s*(?:cd|pushd)\s+(?:--\s+)?"?${volume}`),
    new RegExp(String.raw`\bfind\s[^|;]*${volume}[^|]*\s-(?:delete|exec|execdir|ok)\b`),
  ],
  statements: (text) => joined(text, (line) => line.endsWith("\\")),
};

const calls =
  "sysopen|open|opendir|unlink|rename|link|symlink|mkdir|rmdir|chmod|chown|utime|truncate|mknod|mkfifo|system|exec|remove_tree|make_path|copy|move|remove|rmtree|open_source";

const perl: Language = {
  volume: String.raw`(?:\$\{?${names}\}?|\$\w+(?:->)?\{["']?(?:source|target)["']?\}|(?:setting|text)\(["'](?:source|target)["']\))`,
  variable: (name) => String.raw`\$\{?${name}\b\}?`,
  below: String.raw`(?:${quote}/| ?\. ?["']/)`,
  assigned: (path) => new RegExp(String.raw`\bmy \(?\$(\w+)\)?\s*=\s*["']?(?:${path})`, "g"),
  goes: (path, volume) => [
    new RegExp(String.raw`(?<![\w:>$@%{])(?:${calls})\b[^;]*(?:${path})`),
    new RegExp(String.raw`(?<![\w:>$@%{])(?:${calls})\b[^;]*\bjoin\(?\s*["']/["'], ${volume}`),
    new RegExp(String.raw`\bchdir\b[^;]*${volume}`),
    new RegExp(String.raw`${"`"}[^${"`"}]*(?:${path})`),
  ],
  statements: (text) => joined(text, (line) => line.trim() !== "" && !/[;{}]\s*(?:#.*)?$/.test(line)),
};

/** Statements of a program for a host that go below a volume by a path, as `file:line: text`. */
export function belowByPath(name: string, text: string): string[] {
  if (byHandle.test(name)) return [];
  const language = name.endsWith(".pm") || /^#!.*\bperl\b/.test(text) ? perl : shell;
  const statements = language.statements(text);
  const literal = language.volume + language.below;
  // A path that stands in a variable is one, too, and so is what is below it.
  const variables = new Set(
    statements.flatMap((statement) =>
      [...statement.text.matchAll(language.assigned(literal))].map((found) => found[1] ?? ""),
    ),
  );
  const path = [literal, ...[...variables].map(language.variable)].join("|");
  const patterns = language.goes(path, language.volume);
  return statements
    .filter((statement) => patterns.some((pattern) => pattern.test(statement.text)))
    .map(({ text: found, line }) => `${name}:${String(line)}: uses a path below a volume: ${found.trim()}`);
}

/**
 * Root walks below a volume by handle only. This check finds uses of paths there in the programs of a host, templates/usr/local;
 * `volume-file` and LsyncdAsCode::Beneath do it by handle. It sees a volume by the names of its variables and settings, and a path that
 * is assigned in the same file; it does not see a path passed to a function under another name.
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
