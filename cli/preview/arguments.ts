import { UsageError } from "../cli";

/** What `npm run preview` was asked for. */
export interface Options {
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
export function readArguments(argv: string[]): Options {
  const options: Options = { stacks: [], list: false, rest: [] };
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] ?? "";
    const [name = "", inline] = word.startsWith("--") ? word.split(/=(.*)/s) : [word];
    if (word === "--list") {
      options.list = true;
      continue;
    }
    const key = names[name];
    if (key === undefined) {
      options.rest.push(word);
      continue;
    }
    const value = inline ?? argv[(index += 1)];
    if (value === undefined || value === "") throw new UsageError(`${name} wants a value`);
    if (key === "stacks") options.stacks.push(value);
    else options[key] = value;
  }
  if (options.changedSince !== undefined && options.stacks.length > 0)
    throw new UsageError("--changed-since finds the stacks by itself: leave --stack out");
  return options;
}
