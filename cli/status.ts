import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { runTool, UsageError } from "./cli";
import { settingsOf } from "./configuration";
import { fleetStatus } from "./status/fleet";
import { statusText } from "./status/report";

const usage = `Show the health of every host of a stack. All hosts are checked at once.

Usage: npm run status -- --stack NAME [OPTION…]

Options:
  --json              print JSON (schema: docs/status.schema.json), with --watch one line per round
  --watch             repeat until you press Ctrl-C
  --every SECONDS     pause between rounds (default 10)
  --timeout SECONDS   time limit for each host (default 25)
  --config-file FILE  read the stack's settings from FILE, as pulumi does

Exit codes: 0 all hosts healthy; 1 a host is unhealthy or does not answer; 2 the hosts could not be checked.`;

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
    if (!/^[1-9]\d{0,3}$/.test(values[name]))
      throw new UsageError(`--${name} must be a number of seconds, not "${values[name]}"`);
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
      // On a terminal, clear the screen. Elsewhere, keep the earlier output.
      if (process.stdout.isTTY) process.stdout.write("\x1b[H\x1b[2J\x1b[3J");
      console.log(`${new Date().toLocaleString("sv")}\n`);
    }
    console.log(options.json ? JSON.stringify(all, null, options.watch ? 0 : 2) : statusText(all));
    if (!options.watch) return all.every(({ healthy }) => healthy) ? 0 : 1;
    await setTimeout(Number(options.every) * 1000);
  }
}

// At once: a host that never answers would keep this process running.
runTool(main, { usage, failure: 2, atOnce: true });
