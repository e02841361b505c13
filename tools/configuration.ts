import { join, resolve } from "node:path";
import { run } from "./run";
import { ensureToolchain } from "./toolchain";
import { stackConfiguration } from "./verify/configuration";

const root = resolve(__dirname, "..");

/** A stack, as pulumi's flags name it. */
export interface StackName {
  /** The selected stack when it is not given. */
  stack?: string | undefined;
  configFile?: string | undefined;
}

const flags = ({ stack }: StackName): string[] => (stack === undefined ? [] : ["--stack", stack]);

async function pulumi(args: string[], what: string): Promise<string> {
  await ensureToolchain();
  const program = join(root, "node_modules", ".bin", "pulumi");
  const finished = await run(program, [...args, "--non-interactive", "--color", "never"], {
    cwd: root,
    allowFailure: true,
  });
  if (finished.code !== 0) throw new Error(`pulumi could not read ${what}:\n${finished.stderr.trim()}`);
  return finished.stdout;
}

/** The stack's configuration, secrets included, as the program is handed it. Holds secrets: do not print it. */
export async function configurationOf(name: StackName): Promise<Record<string, string>> {
  const file = name.configFile === undefined ? [] : ["--config-file", resolve(name.configFile)];
  const args = ["config", "--show-secrets", "--json", ...flags(name), ...file];
  return stackConfiguration(await pulumi(args, `the settings of ${name.stack ?? "the selected stack"}`));
}

/** What is deployed, secrets included, as `pulumi stack export` prints it. Holds secrets: do not print it. */
export async function stateOf(name: StackName): Promise<unknown> {
  const args = ["stack", "export", "--show-secrets", ...flags(name)];
  return JSON.parse(await pulumi(args, `the state of ${name.stack ?? "the selected stack"}`)) as unknown;
}

/** The name of the selected stack, with its organization and project where the backend has them. */
export async function stackNameOf(name: StackName): Promise<string> {
  if (name.stack !== undefined) return name.stack;
  return (await pulumi(["stack", "--show-name"], "the name of the selected stack")).trim();
}
