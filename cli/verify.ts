import { parseArgs } from "node:util";
import { runTool, UsageError } from "./cli";
import { settingsOf } from "./configuration";
import { verifyFleet } from "./verify/fleet";
import { exitCode, reportText } from "./verify/report";

const usage = `Compare source and mirror on every host of a stack, and check every database in the mirrors.

Usage: npm run verify -- --stack NAME [OPTION…]

Options:
  --checksum          compare contents, not only sizes and times
  --full              run PRAGMA integrity_check instead of quick_check
  --max-age SECONDS   ignore differences younger than this: the mirror's normal delay (default 60)
  --config-file FILE  read the stack's settings from FILE, as pulumi does

Exit codes: 0 no faults; 1 a host has faults; 2 something could not be checked.`;

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
  if (age !== undefined && !/^\d{1,9}$/.test(age))
    throw new UsageError(`--max-age must be a number of seconds, not "${age}"`);
  if (values.stack === undefined && !values.help) throw new UsageError("--stack NAME is required");
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
