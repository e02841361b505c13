import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runTool } from "../cli/cli";
import { accountText } from "./drill/account";
import { drill, type Failure } from "./drill/drill";
import { ways, type Way } from "./drill/page";
import { sandboxDown, sandboxUp } from "./sandbox";
import { Stack } from "./stack";
import { ensureToolchain } from "../toolchain";

const name = "drill";
const usage = `Destroy the primary of a sandbox host under load, run the commands of docs/disaster-recovery.md and
docs/replace-the-primary.md, and print a report.

Usage: npm run drill [-- OPTION…]

Options:
  --way restore|reverse  restore: return to a new primary (default); reverse: the mirror becomes the primary
  --failure disk|host    disk: the disk of the running host fails (default); host: power cut, then the disk is missing
  --keep                 keep the sandbox "${name}" for inspection`;

const say = (line: string): void => {
  console.log(line);
};

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      way: { type: "string", default: "restore" },
      failure: { type: "string", default: "disk" },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const { way, failure, keep, help } = values;
  if (help || !ways.includes(way as Way) || !["disk", "host"].includes(failure)) {
    say(usage);
    return help ? 0 : 2;
  }
  await ensureToolchain({ say });
  await sandboxDown(name);
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-drill-"));
  try {
    const sandbox = await sandboxUp({ name, hosts: 1, log: say, ...(keep ? {} : { owner: process.pid }) });
    const [host] = sandbox.hosts;
    if (!host) throw new Error("the sandbox has no host");
    const stack = await new Stack({ name, directory }).init();
    await stack.configure([host]);
    say(`Deploying to ${host.name}`);
    const up = await stack.up();
    if (up.code !== 0) throw new Error(`${up.stdout}\n${up.stderr}`);

    const account = await drill({
      ...{ host, stack, way: way as Way, failure: failure as Failure },
      log: ({ title, result, seconds }) => {
        say(`  ${seconds === undefined ? "skip" : `${seconds.toFixed(1)} s`.padStart(6)}  ${title}: ${result}`);
      },
    });
    say(`\n${accountText(account)}`);
    if (keep) say(`\nThe host is still there: npm run sandbox -- ssh --name ${name} ${host.name}`);
    return 0;
  } finally {
    if (!keep) await sandboxDown(name);
    await rm(directory, { recursive: true, force: true });
  }
}

runTool(main);
