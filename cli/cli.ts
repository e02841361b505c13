/** Invalid arguments: the tool prints the message and the usage, and exits with 2. */
export class UsageError extends Error {}

/** How a tool exits. */
interface Ending {
  /** Printed after invalid arguments; without it they are an error like any other. */
  usage?: string;
  /** The exit code of any other error; 1 by default. */
  failure?: number;
  /** Exit without waiting for anything, such as a host that never answers. */
  atOnce?: boolean;
}

const isUsage = (error: unknown): boolean =>
  error instanceof UsageError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS") === true;

/** Runs a tool with this process's arguments and exits with the code it returns; prints the message of an error. */
export function runTool(main: (args: string[]) => Promise<number>, ending: Ending = {}): void {
  const { usage, failure = 1, atOnce = false } = ending;
  main(process.argv.slice(2)).then(
    (code) => {
      // Flush first: exiting at once would lose buffered output.
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
