import { readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { run } from "../../toolchain/run";
import { execOn, type SandboxHost } from "../sandbox";
import type { Stack } from "../stack";

const root = resolve(__dirname, "../..");

/** The command that is typed, and below it the output. */
export const screen = (typed: string, shown: string): string => `\x1b[32m$\x1b[0m \x1b[1m${typed}\x1b[0m\n${shown}`;

/** The end of a preview: the changed lines and the table. The engine's list of resources stands above them. */
export function excerpt(shown: string): string {
  const lines = shown.split("\n");
  const first = lines.findIndex((line) => /^\S.* on .*: \+\d+ /.test(stripVTControlCharacters(line)));
  if (first < 0) throw new Error(`The preview has another form than this expects:\n${shown}`);
  return ["…", "", ...lines.slice(first)].join("\n");
}

/** The outputs that the pictures show. */
export interface Shots {
  /** `npm run status`, while lsyncd is stopped on the last host. */
  status: string;
  /** `npm run preview` of another delay. */
  preview: string;
  /** The comment of a pull request with that change, as Markdown. */
  comment: string;
}

/** The stack's name in the pictures. */
export const shownStack = "sqlite";

/** Records the outputs of the deployed sandbox hosts of the stack with this name. Stops lsyncd on the last host meanwhile. */
export async function takeShots(name: string, stack: Stack, hosts: SandboxHost[]): Promise<Shots> {
  const cli = async (script: string, args: string[], configFile = stack.configFile): Promise<string> => {
    const all = ["--import", "tsx", `cli/${script}.ts`, "--stack", name, "--config-file", configFile, ...args];
    const { stdout, stderr } = await run(process.execPath, all, {
      cwd: root,
      env: stack.environment(),
      allowFailure: true,
    });
    if (stdout === "") throw new Error(`npm run ${script} printed nothing:\n${stderr}`);
    return stdout.replaceAll(name, shownStack).trimEnd();
  };
  const last = hosts.at(-1);
  if (!last) throw new Error("there is no host");
  // As if the timer had run; it exits with 1 if the host is not healthy.
  await Promise.all(hosts.map((host) => execOn(host, "/usr/local/bin/lsyncd-monitor.sh", { allowFailure: true })));
  await execOn(last, "systemctl stop lsyncd");
  const status = await cli("status", []);
  await execOn(last, "systemctl start lsyncd");

  const changed = join(dirname(stack.configFile), "Pulumi.changed.yaml");
  const markdown = `${changed}.md`;
  try {
    const settings = await readFile(stack.configFile, "utf8");
    await writeFile(changed, settings.replace("config:\n", "config:\n  lsyncd:delay: 5\n"));
    const preview = await cli("preview", ["--markdown", markdown, "--color", "always"], changed);
    return {
      status: screen(`npm run status -- --stack ${shownStack}`, status),
      preview: screen(`npm run preview -- --stack ${shownStack}`, excerpt(preview)),
      comment: (await readFile(markdown, "utf8")).replaceAll(name, shownStack),
    };
  } finally {
    for (const file of [changed, markdown]) await rm(file, { force: true });
  }
}
