import { UsageError } from "../cli";

/** The arguments of `npm run preview`. */
export interface Options {
  stacks: string[];
  /** The file to write the comment to, or `-` for standard output. */
  markdown?: string;
  /** Preview the stacks affected by changes since this commit or branch. */
  changedSince?: string;
  /** Only print the names of the stacks, as JSON. */
  list: boolean;
  /** Everything else is passed to the engine. */
  rest: string[];
}

const names: Record<string, "stacks" | "markdown" | "changedSince"> = {
  "--stack": "stacks",
  "-s": "stacks",
  "--markdown": "markdown",
  "--changed-since": "changedSince",
};

/** Parses the arguments after `npm run preview --`; unknown ones are passed to the engine. */
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
    if (value === undefined || value === "") throw new UsageError(`${name} needs a value`);
    if (key === "stacks") options.stacks.push(value);
    else options[key] = value;
  }
  if (options.changedSince !== undefined && options.stacks.length > 0)
    throw new UsageError("--changed-since selects the stacks: leave --stack out");
  return options;
}
