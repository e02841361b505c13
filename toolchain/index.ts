import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type CommandPlugin, findCommandPlugin, installFallback, installOfficial, isStale } from "./command-plugin";
import { buildEngine, downloadEngine, type Engine, findEngine, isOutdated } from "./engine";
import { type Home, homeOf } from "./home";
import { withLock } from "./lock";
import type { Say } from "./progress";

export type { CommandPlugin, CommandPluginOrigin } from "./command-plugin";
export type { Engine, EngineOrigin } from "./engine";

/** What is needed to run the program besides its packages, ready for use. */
export interface Toolchain {
  engine: Engine;
  commandPlugin: CommandPlugin;
}

export interface ToolchainOptions {
  /** The environment to look at and to run things in; this process's unless given. */
  env?: NodeJS.ProcessEnv;
  /** Ask the publisher again for what was built here, and build again what is pinned otherwise now. */
  refresh?: boolean;
  /** Where progress goes; to stderr unless given. Nothing is said when there is nothing to do. */
  say?: Say;
}

/** Folders for what is in the making; only the holder of the lock has one. */
const STAGING = ".lsyncd-as-code-staging-";

/**
 * Makes sure that the engine `npx pulumi` runs, its Node language host and the command plugin are there.
 * Takes milliseconds when they are; otherwise downloads them from their publisher or, where it can't be reached,
 * builds them. Touches nothing under PULUMI_HOME but its versions and plugins. Throws when something can't be had.
 */
export async function ensureToolchain(options: ToolchainOptions = {}): Promise<Toolchain> {
  const { env = process.env, refresh = false } = options;
  const say = options.say ?? ((line) => process.stderr.write(`toolchain: ${line}\n`));
  const home = homeOf(env);
  const ready = refresh ? undefined : find(home, env);
  if (ready !== undefined) return ready;

  const onWait = (pid: string): void => {
    say(`waiting for process ${pid}, which is installing it …`);
  };
  return withLock(home.lock, onWait, async () => {
    const staging = await stagingFolder(home);
    try {
      await install(home, staging, env, refresh, say);
    } finally {
      await rm(staging, { recursive: true, force: true });
    }
    const made = find(home, env);
    if (made === undefined)
      throw new Error(`The toolchain in ${home.engine} and ${home.plugins} is not complete after its installation.`);
    return made;
  });
}

/** What is in place, or undefined when something is missing or stale. */
function find(home: Home, env: NodeJS.ProcessEnv): Toolchain | undefined {
  const engine = findEngine(home);
  const commandPlugin = findCommandPlugin(home, env);
  if (engine === undefined || commandPlugin === undefined || isStale(commandPlugin, home)) return undefined;
  return { engine, commandPlugin };
}

async function install(home: Home, staging: string, env: NodeJS.ProcessEnv, refresh: boolean, say: Say): Promise<void> {
  // Engine and plugin have the same publisher: where the one can't be had, asking for the other only takes time.
  let unreachable: string | undefined;
  const present = findEngine(home);
  if (present === undefined || (refresh && present.origin === "built")) {
    unreachable = await downloadEngine(home, staging, env, say);
    if (unreachable !== undefined && (present === undefined || isOutdated(home))) {
      await buildEngine(home, staging, env, say);
    }
  }

  const engine = findEngine(home);
  const plugin = findCommandPlugin(home, env);
  const stale = plugin !== undefined && isStale(plugin, home);
  if (
    engine !== undefined &&
    unreachable === undefined &&
    (plugin === undefined || (refresh && plugin.origin === "fallback"))
  ) {
    unreachable = await installOfficial(home, engine.path, staging, env, say);
    if (unreachable === undefined) return;
  }
  if (plugin === undefined || stale) await installFallback(home, staging, say);
}

/** A new empty folder; those of earlier runs that were killed are removed. */
async function stagingFolder(home: Home): Promise<string> {
  await mkdir(home.versions, { recursive: true });
  for (const name of await readdir(home.versions)) {
    if (name.startsWith(STAGING)) await rm(join(home.versions, name), { recursive: true, force: true });
  }
  return mkdtemp(join(home.versions, STAGING));
}
