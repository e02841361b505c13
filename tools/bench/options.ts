import { UsageError } from "../../cli/cli";

/** Tells how far it is; what a command finds goes to files. */
export const say = (line: string): void => {
  console.error(line);
};

/** The words of an option that wants a list, as `1,4,8`. */
export const list = (text: string): string[] => text.split(",").filter((word) => word !== "");

/** The command that each measured one is run through, as words; empty when there is none. */
export const throughWords = (text: string): string[] => text.split(" ").filter((word) => word !== "");

/** The words of an option as whole numbers; throws a UsageError that names the option. */
export function wholeNumbers(option: string, words: string[], least = 1): number[] {
  const all = words.map(Number);
  if (all.length === 0 || all.some((value) => !Number.isInteger(value) || value < least))
    throw new UsageError(`--${option} wants whole numbers from ${least} on, not "${words.join(",")}"`);
  return all;
}

/** The words of an option, all of which must be among those that there are; throws a UsageError that names the others. */
export function known<T extends string>(what: string, words: string[], all: readonly T[]): T[] {
  const unknown = words.filter((word) => !all.includes(word as T));
  if (unknown.length > 0) throw new UsageError(`no such ${what}: ${unknown.join(", ")}`);
  return words as T[];
}
