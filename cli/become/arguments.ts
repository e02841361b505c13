import type { StackName } from "../configuration";

/** What a person asked for, taken apart. */
export interface EngineArguments {
  /** What the engine gets. */
  args: string[];
  askBecomePass: boolean;
  /** The stack that is meant. */
  name: StackName;
}

// The commands that change several hosts: the fault of one must not keep the others from their turn.
const goesOn = new Set(["up", "destroy"]);

const askFlags = new Set(["--ask-become-pass", "-K"]);

/** The value of a flag as `--flag value` or `--flag=value`; the last one counts. */
function valueOf(args: string[], ...flags: string[]): string | undefined {
  let value: string | undefined;
  args.forEach((arg, index) => {
    if (flags.includes(arg)) value = args[index + 1];
    const flag = flags.find((one) => arg.startsWith(`${one}=`));
    if (flag !== undefined) value = arg.slice(flag.length + 1);
  });
  return value;
}

/** Reads the arguments of `npm run up` and its like; the first is the engine's command. */
export function engineArguments(args: string[]): EngineArguments {
  const [command = "", ...rest] = args.filter((arg) => !askFlags.has(arg));
  const told = rest.some((arg) => arg.startsWith("--continue-on-error"));
  const more = goesOn.has(command) && !told ? ["--continue-on-error"] : [];
  return {
    args: [command, ...more, ...rest],
    askBecomePass: args.some((arg) => askFlags.has(arg)),
    name: { stack: valueOf(rest, "--stack", "-s"), configFile: valueOf(rest, "--config-file") },
  };
}
