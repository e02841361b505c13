import { UsageError } from "../../cli/cli";

/** Prints progress; results go to files. */
export const say = (line: string): void => {
  console.error(line);
};

/** Splits the value of a list option, such as `1,4,8`. */
export const list = (text: string): string[] => text.split(",").filter((word) => word !== "");

/** Splits the command that wraps each measured command; empty if there is none. */
export const throughWords = (text: string): string[] => text.split(" ").filter((word) => word !== "");

/** Converts the words of an option to whole numbers; throws a UsageError that names the option. */
export function wholeNumbers(option: string, words: string[], least = 1): number[] {
  const all = words.map(Number);
  if (all.length === 0 || all.some((value) => !Number.isInteger(value) || value < least))
    throw new UsageError(`--${option} needs whole numbers of at least ${least}, not "${words.join(",")}"`);
  return all;
}

/** Checks the words of an option against the allowed ones; throws a UsageError that lists the unknown words. */
export function known<T extends string>(what: string, words: string[], all: readonly T[]): T[] {
  const unknown = words.filter((word) => !all.includes(word as T));
  if (unknown.length > 0) throw new UsageError(`no such ${what}: ${unknown.join(", ")}`);
  return words as T[];
}
