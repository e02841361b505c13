import { spawn, type ChildProcess } from "node:child_process";
import { basename, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { run, type Finished } from "../../toolchain/run";
import type { Stack } from "../../tools/stack";

const root = resolve(__dirname, "../..");

/** The arguments and the environment with which a person runs one of the npm scripts' programs who has selected a stack's backend. */
function asPerson(stack: Stack, tool: string, args: string[], more: Record<string, string> = {}) {
  const inherited = { ...process.env };
  // A person's own agent has nothing to do with sandbox hosts.
  delete inherited.SSH_AUTH_SOCK;
  const name = /^Pulumi\.(.*)\.yaml$/.exec(basename(stack.configFile))?.[1] ?? "";
  return {
    args: [join(root, "toolchain/bootstrap.mjs"), tool, ...args, "--stack", name, "--config-file", stack.configFile],
    env: {
      ...inherited,
      PULUMI_BACKEND_URL: `file://${join(dirname(stack.configFile), "state")}`,
      PULUMI_CONFIG_PASSPHRASE: "sandbox",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      ...more,
    },
  };
}

/** Runs one of the npm scripts' programs on a stack until it ends. */
export async function runTool(
  stack: Stack,
  tool: string,
  args: string[],
  options: { input?: string; env?: Record<string, string> } = {},
): Promise<Finished> {
  const { args: all, env } = asPerson(stack, tool, args, options.env);
  const input = options.input === undefined ? {} : { input: options.input };
  return run(process.execPath, all, { cwd: root, allowFailure: true, env, ...input });
}

/** Starts one that does not end by itself, and hands on each line that it prints. */
export function startTool(stack: Stack, tool: string, args: string[], line: (text: string) => void): ChildProcess {
  const { args: all, env } = asPerson(stack, tool, args);
  const child = spawn(process.execPath, all, { cwd: root, env, stdio: ["ignore", "pipe", "inherit"] });
  createInterface(child.stdout).on("line", line);
  return child;
}
