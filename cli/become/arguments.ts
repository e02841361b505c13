import type { StackName } from "../configuration";

/** The parsed arguments of `npm run up` and similar. */
export interface EngineArguments {
  /** The engine's arguments. */
  args: string[];
  askBecomePass: boolean;
  /** Patterns of the targeted resources; empty for all. */
  targets: string[];
  /** The stack. */
  name: StackName;
}

// Commands that change several hosts: an error on one must not stop the others.
const goesOn = new Set(["up", "destroy"]);

const askFlags = new Set(["--ask-become-pass", "-K"]);

/** The values of a flag as `--flag value` or `--flag=value`. */
function valuesOf(args: string[], ...flags: string[]): string[] {
  return args.flatMap((arg, index) => {
    if (flags.includes(arg)) return args[index + 1] ?? [];
    const flag = flags.find((one) => arg.startsWith(`${one}=`));
    return flag === undefined ? [] : [arg.slice(flag.length + 1)];
  });
}

/** The value of a flag; the last one counts. */
const valueOf = (args: string[], ...flags: string[]): string | undefined => valuesOf(args, ...flags).at(-1);

/** Parses the arguments of `npm run up` and similar; the first is the engine's command. */
export function engineArguments(args: string[]): EngineArguments {
  const [command = "", ...rest] = args.filter((arg) => !askFlags.has(arg));
  const given = rest.some((arg) => arg.startsWith("--continue-on-error"));
  const more = goesOn.has(command) && !given ? ["--continue-on-error"] : [];
  return {
    args: [command, ...more, ...rest],
    askBecomePass: args.some((arg) => askFlags.has(arg)),
    targets: valuesOf(rest, "--target", "-t", "--target-replace", "--replace"),
    name: { stack: valueOf(rest, "--stack", "-s"), configFile: valueOf(rest, "--config-file") },
  };
}
