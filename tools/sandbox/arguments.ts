import { parseArgs, type ParseArgsConfig } from "node:util";
import { releases, type Release } from "./types";

/** A mistake in the command line. */
export class UsageError extends Error {}

/** What the command line asks for. */
export type Wish =
  | { action: "help" }
  | { action: "up"; name: string; hosts: number; release?: Release }
  | { action: "down"; name: string }
  | { action: "down all" }
  | { action: "list" }
  | { action: "ssh"; name: string; host: string; command: string[] };

/** The sandbox that is meant when none is named. */
export const defaultName = "sandbox";

const options = {
  name: { type: "string" },
  hosts: { type: "string" },
  release: { type: "string" },
  all: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const satisfies ParseArgsConfig["options"];

/** Which options each action takes, beside --help. */
const takes: Record<string, (keyof typeof options)[]> = {
  up: ["name", "hosts", "release"],
  down: ["name", "all"],
  list: [],
  ssh: ["name"],
};

/** Reads the words after `npm run sandbox --`. Throws UsageError, with one line that says what is wrong. */
export function readArguments(argv: string[]): Wish {
  const [own, command] = splitCommand(argv);
  const { values, positionals } = parseOwn(own);
  const [action, ...rest] = positionals;
  if (values.help || action === undefined || action === "help") return { action: "help" };
  const allowed = takes[action];
  if (!allowed) throw new UsageError(`"${action}" is none of ${Object.keys(takes).join(", ")}`);
  const wrong = Object.keys(values).find((option) => !allowed.some((name) => name === option));
  if (wrong !== undefined) throw new UsageError(`${action} has no option --${wrong}`);
  const name = values.name ?? defaultName;
  if (action === "ssh") {
    const [host] = rest;
    if (host === undefined) throw new UsageError("ssh wants the name of a host");
    return { action, name, host, command };
  }
  if (rest.length > 0) throw new UsageError(`${action} takes no "${rest.join(" ")}"`);
  if (action === "up") {
    const release = values.release === undefined ? {} : { release: releaseOf(values.release) };
    return { action, name, hosts: hostCount(values.hosts ?? "1"), ...release };
  }
  if (action === "list") return { action };
  if (values.all && values.name !== undefined) throw new UsageError("down takes --name or --all, not both");
  return values.all ? { action: "down all" } : { action: "down", name };
}

/** What follows `ssh HOST` is for the host, dashes and all. */
function splitCommand(argv: string[]): [own: string[], command: string[]] {
  if (argv[0] !== "ssh") return [argv, []];
  let host = 1;
  while (argv[host]?.startsWith("-")) host += argv[host] === "--name" ? 2 : 1;
  const command = argv.slice(host + 1);
  return [argv.slice(0, host + 1), command[0] === "--" ? command.slice(1) : command];
}

function parseOwn(args: string[]) {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function hostCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1) throw new UsageError(`--hosts wants a whole number from 1 on, not "${text}"`);
  return count;
}

function releaseOf(text: string): Release {
  const release = releases.find((known) => known === text);
  if (!release) throw new UsageError(`--release wants ${releases.join(" or ")}, not "${text}"`);
  return release;
}
