import { basename, dirname, join, resolve } from "node:path";
import { run, type Finished } from "../../toolchain/run";
import type { Stack } from "../../tools/stack";

const root = resolve(__dirname, "../..");

/** Runs one of the npm scripts' programs on a stack, as a user does who has selected its backend. */
export async function runTool(
  stack: Stack,
  tool: string,
  args: string[],
  options: { input?: string; env?: Record<string, string> } = {},
): Promise<Finished> {
  const inherited = { ...process.env };
  // Keeps the user's own ssh-agent away from sandbox hosts.
  delete inherited.SSH_AUTH_SOCK;
  const name = /^Pulumi\.(.*)\.yaml$/.exec(basename(stack.configFile))?.[1] ?? "";
  return run(
    process.execPath,
    [join(root, "toolchain/bootstrap.mjs"), tool, ...args, "--stack", name, "--config-file", stack.configFile],
    {
      cwd: root,
      allowFailure: true,
      env: {
        ...inherited,
        PULUMI_BACKEND_URL: `file://${join(dirname(stack.configFile), "state")}`,
        PULUMI_CONFIG_PASSPHRASE: "sandbox",
        PULUMI_SKIP_UPDATE_CHECK: "true",
        ...options.env,
      },
      ...(options.input === undefined ? {} : { input: options.input }),
    },
  );
}
