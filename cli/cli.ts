/** The arguments are at fault: the message is followed by the usage, and the exit code is 2. */
export class UsageError extends Error {}

/** How a tool ends. */
interface Ending {
  /** Shown after a fault in the arguments; without it that is an error like any other. */
  usage?: string;
  /** The exit code of any other error; 1 by default. */
  failure?: number;
  /** End the process at once, whatever it still waits for, such as a host that never answers. */
  atOnce?: boolean;
}

const isUsage = (error: unknown): boolean =>
  error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS") === true;

/** Runs a tool with this process's arguments and ends with the exit code it returns; an error is printed in its own words. */
export function runTool(main: (args: string[]) => Promise<number>, ending: Ending = {}): void {
  const { usage, failure = 1, atOnce = false } = ending;
  main(process.argv.slice(2)).then(
    (code) => {
      // Written first: ending at once would lose what waits in a pipe.
      if (atOnce) process.stdout.write("", () => process.exit(code));
      else process.exitCode = code;
    },
    (error: unknown) => {
      console.error(error instanceof Error ? error.message : error);
      const misused = usage !== undefined && isUsage(error);
      if (misused) console.error(`\n${usage}`);
      process.exitCode = misused ? 2 : failure;
    },
  );
}
