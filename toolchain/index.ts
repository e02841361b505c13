import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type CommandPlugin, findCommandPlugin, installFallback, installOfficial, isStale } from "./command-plugin";
import { buildEngine, downloadEngine, type Engine, findEngine, isOutdated } from "./engine";
import { type Home, homeOf } from "./home";
import { withLock } from "./lock";
import type { Say } from "./progress";

export type { CommandPlugin, CommandPluginOrigin } from "./command-plugin";
export type { Engine, EngineOrigin } from "./engine";

/** The programs that are needed besides npm packages, ready for use. */
export interface Toolchain {
  engine: Engine;
  commandPlugin: CommandPlugin;
}

export interface ToolchainOptions {
  /** The environment; by default this process's. */
  env?: NodeJS.ProcessEnv;
  /** Try again to download what was built here, and rebuild what is now pinned to another version. */
  refresh?: boolean;
  /** Prints progress, by default to stderr. Not called if there is nothing to do. */
  say?: Say;
}

/** Staging folders; only the holder of the lock has one. */
const STAGING = ".lsyncd-as-code-staging-";

/**
 * Makes sure that the engine used by `npx pulumi`, its Node language host and the command plugin are installed.
 * Takes milliseconds if they are; otherwise downloads them from their publisher or, if that fails, builds them.
 * Under PULUMI_HOME, changes only its versions and plugins. Throws if something cannot be installed.
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
      throw new Error(`The toolchain in ${home.engine} and ${home.plugins} is incomplete after its installation.`);
    return made;
  });
}

/** The installed toolchain, or undefined if something is missing or out of date. */
function find(home: Home, env: NodeJS.ProcessEnv): Toolchain | undefined {
  const engine = findEngine(home);
  const commandPlugin = findCommandPlugin(home, env);
  if (engine === undefined || commandPlugin === undefined || isStale(commandPlugin, home)) return undefined;
  return { engine, commandPlugin };
}

async function install(home: Home, staging: string, env: NodeJS.ProcessEnv, refresh: boolean, say: Say): Promise<void> {
  // Engine and plugin have the same publisher: if one download fails, trying the other only takes time.
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

/** Creates an empty folder, and removes those of earlier runs that were killed. */
async function stagingFolder(home: Home): Promise<string> {
  await mkdir(home.versions, { recursive: true });
  for (const name of await readdir(home.versions)) {
    if (name.startsWith(STAGING)) await rm(join(home.versions, name), { recursive: true, force: true });
  }
  return mkdtemp(join(home.versions, STAGING));
}
