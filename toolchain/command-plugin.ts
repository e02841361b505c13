import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundle, bundleHash, EXECUTABLE } from "./command-provider/bundle";
import { download, downloadEnding } from "./download";
import { isExecutable, markedHash, marker, onPath, replaceFolder } from "./files";
import { COMMAND_VERSION, type Home } from "./home";
import { type Say, step } from "./progress";

/** The plugin that runs commands: one on PATH, the installed official one, or this project's fallback. */
export type CommandPluginOrigin = "path" | "official" | "fallback";

export interface CommandPlugin {
  origin: CommandPluginOrigin;
  path: string;
  /** The version that the program requires; a plugin on PATH is used whatever its version. */
  version: string;
}

/** The plugin that the engine would run by its own rules, or undefined if it would have to download one. */
export function findCommandPlugin(home: Home, env: NodeJS.ProcessEnv): CommandPlugin | undefined {
  const ambient = ignoresPath(env) ? undefined : onPath(EXECUTABLE, env);
  if (ambient !== undefined) return { origin: "path", path: ambient, version: COMMAND_VERSION };
  const path = join(home.commandPlugin, EXECUTABLE);
  // The engine marks an unfinished installation this way, and does not use it.
  if (!isExecutable(path) || existsSync(`${home.commandPlugin}.partial`)) return undefined;
  const origin = markedHash(home.commandPlugin) === undefined ? "official" : "fallback";
  return { origin, path, version: COMMAND_VERSION };
}

/** Whether the fallback is installed but was built from other sources than those in this working copy. */
export function isStale(plugin: CommandPlugin, home: Home): boolean {
  return plugin.origin === "fallback" && markedHash(home.commandPlugin) !== bundleHash();
}

/** Lets the engine install the official plugin. On failure, resolves with the reason. */
export async function installOfficial(
  home: Home,
  enginePath: string,
  staging: string,
  env: NodeJS.ProcessEnv,
  say: Say,
): Promise<string | undefined> {
  const fetchIt = (): Promise<string | undefined> =>
    download(enginePath, ["plugin", "install", "resource", "command", `v${COMMAND_VERSION}`], {
      env: { ...env, PULUMI_HOME: staging, PULUMI_SKIP_UPDATE_CHECK: "true" },
      timeout: 20,
      greeting: 0,
      limit: 120,
    });
  const what = `installing the command plugin ${COMMAND_VERSION} from its publisher`;
  const reason = await step(say, what, fetchIt, downloadEnding);
  const installed = join(staging, "plugins", `resource-command-v${COMMAND_VERSION}`);
  if (reason !== undefined) return reason;
  if (!isExecutable(join(installed, EXECUTABLE))) return "the installation is incomplete";
  await replaceFolder(installed, home.commandPlugin);
  await rm(`${home.commandPlugin}.partial`, { force: true });
  return undefined;
}

/** Bundles the fallback provider and installs it where the engine looks for the official one. */
export async function installFallback(home: Home, staging: string, say: Say): Promise<void> {
  await step(say, "installing this project's own fallback for the command plugin", async () => {
    const built = join(staging, "command");
    await bundle(built);
    const { path, content } = marker(built, bundleHash());
    await writeFile(path, content);
    await replaceFolder(built, home.commandPlugin);
    // Left behind if an installation of the official one was interrupted.
    await rm(`${home.commandPlugin}.partial`, { force: true });
  });
}

/** The engine's switch to ignore plugins on PATH, parsed the same way. */
function ignoresPath(env: NodeJS.ProcessEnv): boolean {
  return ["1", "true"].includes((env.PULUMI_IGNORE_AMBIENT_PLUGINS ?? "").toLowerCase());
}
