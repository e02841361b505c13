import { parseArgs } from "node:util";
import { runTool, UsageError } from "./cli";
import { settingsOf } from "./configuration";
import { waitExit, waitFleet, waitText } from "./wait/fleet";

const usage = `Waits until everything that was written to each host of a stack before the call is in its mirror, and on its disk.

  npm run wait -- --stack NAME [--timeout SECONDS] [--config-file FILE]

  --timeout      how long to wait at most (default 300)
  --config-file  as pulumi's: the stack's settings are in another file

Ends with 0 when it is so on all hosts, 1 when it was not within the timeout on one, 2 when a host could not be asked, 3 when
a mirror is held: in use, or after a mass deletion.`;

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
  if (!/^[1-9]\d{0,5}$/.test(values.timeout)) throw new UsageError(`--timeout takes seconds, not "${values.timeout}"`);
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
