import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { runTool, UsageError } from "./cli";
import { settingsOf } from "./configuration";
import { fleetStatus } from "./status/fleet";
import { statusText } from "./status/report";

const usage = `How is every host of a stack? All are asked at once.

  npm run status -- --stack NAME [--json] [--watch [--every SECONDS]] [--timeout SECONDS] [--config-file FILE]

  --json         for programs: docs/status.schema.json says what is in it; with --watch one line each time
  --watch        again and again, until you press Ctrl-C
  --every        seconds from one answer to the next question (default 10)
  --timeout      how long to wait for one host (default 25)
  --config-file  as pulumi's: the stack's settings are in another file

Ends with 0 when all hosts are healthy, 1 when one is not or does not answer, 2 when they could not be asked.`;

function readArguments(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      json: { type: "boolean", default: false },
      watch: { type: "boolean", short: "w", default: false },
      every: { type: "string", default: "10" },
      timeout: { type: "string", default: "25" },
      "config-file": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  for (const name of ["timeout", "every"] as const)
    if (!/^[1-9]\d{0,3}$/.test(values[name])) throw new UsageError(`--${name} takes seconds, not "${values[name]}"`);
  return values;
}

async function main(args: string[]): Promise<number> {
  const options = readArguments(args);
  if (options.help) {
    console.log(usage);
    return 0;
  }
  const settings = await settingsOf({ stack: options.stack, configFile: options["config-file"] });
  for (;;) {
    const all = await fleetStatus(settings, Number(options.timeout));
    if (options.watch && !options.json) {
      // Over the last one on a terminal; below it where the output is kept.
      if (process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J\x1b[3J");
      console.log(`${new Date().toLocaleString("sv")}\n`);
    }
    console.log(options.json ? JSON.stringify(all, null, options.watch ? 0 : 2) : statusText(all));
    if (!options.watch) return all.every(({ healthy }) => healthy) ? 0 : 1;
    await setTimeout(Number(options.every) * 1000);
  }
}

// At once: a host that never answers would keep this process.
runTool(main, { usage, failure: 2, atOnce: true });
