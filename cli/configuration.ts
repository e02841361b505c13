import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { run } from "../toolchain/run";
import { ensureToolchain } from "../toolchain";
import { readSettings, type Settings } from "../infra/config";
import { stackConfiguration } from "./configuration/json";

const root = resolve(__dirname, "..");

/** A stack, named by pulumi's flags. */
export interface StackName {
  /** The selected stack by default. */
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
  if (finished.code !== 0) {
    const more = "More: docs/operations.md#where-the-state-lives, docs/operations.md#secrets";
    throw new Error(`pulumi could not read ${what}:\n${finished.stderr.trim()}\n${more}`);
  }
  return finished.stdout;
}

/** The stack's configuration as the program receives it. It contains secrets: do not print it. */
export async function configurationOf(name: StackName): Promise<Record<string, string>> {
  const file = name.configFile === undefined ? [] : ["--config-file", resolve(name.configFile)];
  const args = ["config", "--show-secrets", "--json", ...flags(name), ...file];
  return stackConfiguration(await pulumi(args, `the settings of ${name.stack ?? "the selected stack"}`));
}

/** The settings of a stack, as the program reads them in this environment. They contain secrets. Throws one error that lists all faults. */
export async function settingsOf(name: StackName): Promise<Settings> {
  return readSettings({ stack: await configurationOf(name), env: process.env });
}

/** The stack's state, as `pulumi stack export` prints it. It contains secrets: do not print it. */
export async function stateOf(name: StackName): Promise<unknown> {
  const args = ["stack", "export", "--show-secrets", ...flags(name)];
  return JSON.parse(await pulumi(args, `the state of ${name.stack ?? "the selected stack"}`)) as unknown;
}

/** The full name of the stack: organization/project/name. */
export async function fullStackName(name: StackName): Promise<string> {
  const selected = name.stack ?? (await pulumi(["stack", "--show-name"], "the name of the selected stack")).trim();
  const parts = selected.split("/");
  const short = parts.at(-1) ?? selected;
  if (parts.length === 3) return selected;
  const project = parse(await readFile(join(root, "Pulumi.yaml"), "utf8")) as { name: string };
  const organization = parts.length === 2 ? parts[0] : await organizationOf();
  return `${organization ?? "organization"}/${project.name}/${short}`;
}

/** File and bucket backends have no organizations; they use the name `organization`. */
async function organizationOf(): Promise<string> {
  const who = JSON.parse(await pulumi(["whoami", "--json"], "who is logged in")) as { user: string; url: string };
  return /^https?:/.test(who.url) ? who.user : "organization";
}
