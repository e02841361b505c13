import { sh } from "../quote";
import { fragment } from "./script";

/**
 * Texts by name, in order, which are sent to a host in one piece. A name that is a path is a file, every other part is
 * shell. As one JSON object it is a command's standard input, because the engine shows such an object part by part, each
 * with the lines that change.
 */
export type Parts = Record<string, string>;

const partName = /^[A-Za-z0-9/._@-]+$/;

// Every character that JSON has a short form for, but the line end, has its number: so a text never holds a quote, and a
// host that has no JSON needs no more than unpack.pl to read it.
function encode(text: string): string {
  if (text.includes("\0")) throw new Error("a NUL character cannot be sent to a host");
  const hex = (character: string): string => `\\u00${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  return `"${text.replace(/["\\\x01-\x09\x0b-\x1f\x7f]/g, hex).replaceAll("\n", "\\n")}"`;
}

/** The parts as the JSON object that unpack.pl reads. Throws for a name that is not plain and for a NUL character. */
export function bundle(parts: Parts): string {
  const members = Object.entries(parts).map(([name, text]) => {
    if (!partName.test(name)) throw new Error(`${JSON.stringify(name)} is not a valid part name`);
    return `${encode(name)}:${encode(text)}`;
  });
  return `{${members.join(",\n")}}`;
}

/** The parts of a standard input; undefined for one that is no bundle, as those of earlier versions. */
export function partsOf(stdin: string): Parts | undefined {
  if (!stdin.startsWith('{"')) return undefined;
  return JSON.parse(stdin) as Parts;
}

/** The script that a host makes of the parts: the same as unpack.pl makes. */
export function scriptOf(parts: Parts): string {
  return Object.entries(parts)
    .map(([name, text]) => (name.startsWith("/") ? `content[${name}]='${text.replaceAll("'", `'\\''`)}'\n` : text))
    .join("");
}

/** unpack.pl in one line, as a command's text. */
const unpack = `perl -e ${sh(
  fragment("unpack.pl")
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.trim())
    .join(" ")
    .trim(),
)} `;

/** The command that gives a script to `command`, as one that gets the bundle of it. */
export const unpacking = (command: string): string => unpack + command;

/** The command that gets the script when this one gets the bundle; undefined for one that gets no bundle. */
export const unpacked = (command: string): string | undefined =>
  command.startsWith(unpack) ? command.slice(unpack.length) : undefined;
