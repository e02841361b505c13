import { parseArgs } from "node:util";
import { runTool, UsageError } from "./cli";
import { settingsOf } from "./configuration";
import { verifyFleet } from "./verify/fleet";
import { exitCode, reportText } from "./verify/report";

const usage = `Compares source and mirror on every host of a stack, and opens every database of the mirrors.

  npm run verify -- --stack NAME [--checksum] [--full] [--max-age SECONDS] [--config-file FILE]

  --checksum     compares content, not only sizes and times
  --full         PRAGMA integrity_check instead of quick_check
  --max-age      a difference younger than this is the mirror's normal delay (default 60)
  --config-file  as pulumi's: the stack's settings are in another file

Ends with 0 when all is well, 1 when a host has faults, 2 when something could not be checked.`;

function readArguments(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      checksum: { type: "boolean", default: false },
      full: { type: "boolean", default: false },
      "max-age": { type: "string" },
      "config-file": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const age = values["max-age"];
  if (age !== undefined && !/^\d{1,9}$/.test(age)) throw new UsageError(`--max-age takes seconds, not "${age}"`);
  if (values.stack === undefined && !values.help) throw new UsageError("which stack? --stack NAME");
  return { ...values, ...(age === undefined ? {} : { maxAge: Number(age) }) };
}

async function main(args: string[]): Promise<number> {
  const options = readArguments(args);
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const settings = await settingsOf({ stack: options.stack, configFile: options["config-file"] });
  const reports = await verifyFleet(settings, options);
  console.log(reportText(reports));
  return exitCode(reports);
}

runTool(main, { usage, failure: 2 });
