import { parseArgs } from "node:util";
import { runTool, UsageError } from "./cli";
import { settingsOf } from "./configuration";
import { waitExit, waitFleet, waitText } from "./wait/fleet";

const usage = `Wait until everything written so far on every host of a stack is mirrored and on disk.

Usage: npm run wait -- --stack NAME [OPTION…]

Options:
  --timeout SECONDS   time limit (default 300)
  --config-file FILE  read the stack's settings from FILE, as pulumi does

Exit codes: 0 mirrored on all hosts; 1 timeout; 2 a host could not be asked; 3 a mirror is held (in use, or after a mass
deletion).`;

function readArguments(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      timeout: { type: "string", default: "300" },
      "config-file": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (!/^[1-9]\d{0,5}$/.test(values.timeout))
    throw new UsageError(`--timeout must be a number of seconds, not "${values.timeout}"`);
  return values;
}

async function main(args: string[]): Promise<number> {
  const options = readArguments(args);
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const settings = await settingsOf({ stack: options.stack, configFile: options["config-file"] });
  const all = await waitFleet(settings, Number(options.timeout));
  console.log(waitText(all));
  return waitExit(all);
}

runTool(main, { usage, failure: 2 });
