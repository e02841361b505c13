import { UsageError } from "../cli";

/** What `npm run preview` was asked for. */
export interface Wish {
  stacks: string[];
  /** Where the comment goes: a file, or `-` for standard output. */
  markdown?: string;
  /** Take the stacks that differ from this commit or branch. */
  changedSince?: string;
  /** Only print the names of the stacks, as JSON. */
  list: boolean;
  /** Everything else, for the engine. */
  rest: string[];
}

const names: Record<string, "stacks" | "markdown" | "changedSince"> = {
  "--stack": "stacks",
  "-s": "stacks",
  "--markdown": "markdown",
  "--changed-since": "changedSince",
};

/** Reads the words after `npm run preview --`; those it does not know are for the engine. */
export function readArguments(argv: string[]): Wish {
  const wish: Wish = { stacks: [], list: false, rest: [] };
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? "";
    const [name = "", inline] = word.startsWith("--") ? word.split(/=(.*)/s) : [word];
    if (word === "--list") {
      wish.list = true;
      continue;
    }
    const key = names[name];
    if (key === undefined) {
      wish.rest.push(word);
      continue;
    }
    const value = inline ?? argv[(index += 1)];
    if (value === undefined || value === "") throw new UsageError(`${name} wants a value`);
    if (key === "stacks") wish.stacks.push(value);
    else wish[key] = value;
  }
  if (wish.changedSince !== undefined && wish.stacks.length > 0)
    throw new UsageError("--changed-since finds the stacks by itself: leave --stack out");
  return wish;
}
