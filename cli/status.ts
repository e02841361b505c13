import { parseArgs } from "node:util";
import { readSettings } from "../infra/config";
import { runTool, UsageError } from "./cli";
import { configurationOf } from "./configuration";
import { fleetStatus } from "./status/fleet";
import { statusText } from "./status/report";

const usage = `How is every host of a stack? All are asked at once.

  npm run status -- --stack NAME [--json] [--timeout SECONDS] [--config-file FILE]

  --json         for programs
  --timeout      how long to wait for one host (default 25)
  --config-file  as pulumi's: the stack's settings are in another file

Ends with 0 when all hosts are healthy, 1 when one is not or does not answer, 2 when they could not be asked.`;

function readArguments(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      json: { type: "boolean", default: false },
      timeout: { type: "string", default: "25" },
      "config-file": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (!/^[1-9]\d{0,3}$/.test(values.timeout)) throw new UsageError(`--timeout takes seconds, not "${values.timeout}"`);
  return values;
}

async function main(args: string[]): Promise<number> {
  const wish = readArguments(args);
  if (wish.help) {
    console.log(usage);
    return 0;
  }
  const stack = await configurationOf({ stack: wish.stack, configFile: wish["config-file"] });
  const all = await fleetStatus(readSettings({ stack, env: process.env }), Number(wish.timeout));
  console.log(wish.json ? JSON.stringify(all, null, 2) : statusText(all));
  return all.every(({ healthy }) => healthy) ? 0 : 1;
}

// At once: a host that never answers would keep this process.
runTool(main, { usage, failure: 2, atOnce: true });
