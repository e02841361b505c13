import { readFileSync } from "node:fs";
import { join } from "node:path";
import writeGood from "write-good";
import { fencedBlocks } from "../docs/blocks";

/** A habit of this project's language, and the common expression. */
interface Habit {
  pattern: RegExp;
  better: string;
}

/** Words and openings that confuse readers, and their replacements. */
const habits: Habit[] = [
  { pattern: /\b(?:told|tells?|telling)\b/gi, better: "report, alert, print or show" },
  { pattern: /\bmend(?:s|ed|ing)?\b/gi, better: "fix or repair" },
  { pattern: /\btroubles?\b/gi, better: "problem, error or fault" },
  { pattern: /\bpatience\b/gi, better: "timeout" },
  { pattern: /\btwins?\b/gi, better: "duplicate" },
  { pattern: /\bwish(?:es)?\b/gi, better: "option or request" },
  { pattern: /\bwhoever\b/gi, better: "name the actor" },
  { pattern: /\bwhat came of\b/gi, better: "result or outcome" },
  { pattern: /\bin the way of\b/gi, better: "blocks or prevents" },
  { pattern: /\b(?:nobody|somebody) (?:is|has|knows|looks?|asks?|asked)\b/gi, better: "name the actor" },
  // A sentence that opens with its object: "What is not set is taken from …".
  { pattern: /(?<=^|[.:] )What [a-z][^?\n]*?[.;]/gm, better: "subject, verb, object" },
];

/** Finds our habits in a text: a line each, `NAME:LINE: "WORDS": write …`. */
export function habitsIn(name: string, text: string): string[] {
  return habits.flatMap(({ pattern, better }) =>
    [...text.matchAll(pattern)].map(({ 0: words, index }) => {
      const line = text.slice(0, index).split("\n").length;
      return `${name}:${String(line)}: ${JSON.stringify(words.slice(0, 60))}: write ${better}`;
    }),
  );
}

/** Text with everything else replaced by blanks, so that lines keep their numbers. */
const blank = (text: string): string => text.replaceAll(/[^\n]/g, " ");

/** The prose of a page: no code, no comments, no names of tests in “quotes”. */
export function proseOfPage(markdown: string): string {
  const withoutBlocks = fencedBlocks(markdown).reduce(
    (rest, { text }) => (text.length === 0 ? rest : rest.replace(text.join("\n"), blank)),
    markdown,
  );
  return withoutBlocks.replaceAll(/`[^`\n]*`|<!--[^]*?-->|“[^”\n]*”/g, blank);
}

/** The comments of a program in TypeScript, shell, Perl or a unit: whole lines only. */
export function commentsOf(source: string): string {
  return source.replaceAll(/^.*$/gm, (line) => (/^\s*(?:#(?!!)|\/\/|\/?\*)/.test(line) ? line : ""));
}

/** The texts of a TypeScript program that contain a blank, as messages do; the rest, and the code in templates, is blanked. */
export function messagesOf(source: string): string {
  const code = source.replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, "");
  return code.replaceAll(/^.*$/gm, (line) =>
    [...line.matchAll(/"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`?/g)]
      .map(([, plain, template]) => (plain ?? template ?? "").replaceAll(/\$\{[^}]*\}/g, "…"))
      .filter((text) => text.includes(" "))
      .join("\n")
      .replaceAll("\n", " | "),
  );
}

/** The titles of tests; the rest is blanked. */
export function titlesOf(source: string): string {
  const title = /^\s*(?:(?:it|test|describe)(?:\.\w+(?:\(\w+\))?)?|\](?: as const)?\))\("((?:[^"\\]|\\.)*)"/;
  return source.replaceAll(/^.*$/gm, (line) => title.exec(line)?.[1] ?? "");
}

/** Comments that open with their object: "What differs from …". */
function openingsIn(name: string, comments: string): string[] {
  return comments.split("\n").flatMap((line, index) => {
    const [, words] = /^\s*(?:#|\/\/|\/?\*\*?) (What [a-z][^?]*)$/.exec(line) ?? [];
    return words === undefined
      ? []
      : [`${name}:${String(index + 1)}: ${JSON.stringify(words.slice(0, 60))}: write subject, verb, object`];
  });
}

/** The findings in a program's comments. */
export function commentFindings(name: string, source: string): string[] {
  const comments = commentsOf(source);
  return [...habitsIn(name, comments), ...openingsIn(name, comments)];
}

/** A change of these makes the copier's recorded histories void (test/support/model.ts). */
const model = "test/support/model/";

/** Pages that are written from runs on hosts, whose words are those of the tests. */
const recorded = ["docs/reliability.md", "docs/alerts-samples.md"];

/** The findings in the pages, comments and messages of these files (paths from `root`). */
export function proseFindings(root: string, files: string[]): string {
  const read = (file: string): string => readFileSync(join(root, file), "utf8");
  const pages = files.filter((file) => file.endsWith(".md") && !recorded.includes(file));
  const sources = files.filter(
    (file) =>
      /^(?:cli|infra|templates|test|toolchain|tools)\//.test(file) && !file.endsWith(".md") && !file.startsWith(model),
  );
  const tests = sources.filter((file) => /^test\/.*\.test\.ts$/.test(file));
  const spoken = sources.filter((file) => /^(?:cli|infra|toolchain)\/.*\.ts$/.test(file));
  const options = { passive: false, weasel: false, adverb: false, tooWordy: false, thereIs: false, so: false };
  return [
    ...pages.flatMap((file) => {
      const prose = proseOfPage(read(file));
      const good = writeGood(prose, { ...options, illusion: true, cliches: true }).map(
        ({ index, reason }) => `${file}:${String(prose.slice(0, index).split("\n").length)}: ${reason}`,
      );
      return [...habitsIn(file, prose), ...good];
    }),
    ...sources.flatMap((file) => commentFindings(file, read(file))),
    ...spoken.flatMap((file) => habitsIn(file, messagesOf(read(file)))),
    ...tests.flatMap((file) => habitsIn(file, titlesOf(read(file)))),
  ].join("\n");
}
