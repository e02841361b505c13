import { homedir, userInfo } from "node:os";
import { join } from "node:path";

/** The version of the engine, of its npm package, and of the Go modules that it is built from if it cannot be downloaded. */
export const ENGINE_VERSION = "3.250.0";

/** The version of the command plugin, the same as that of the package @pulumi/command. */
export const COMMAND_VERSION = "1.2.1";

/** PULUMI_HOME, and the places below it that this toolchain reads and writes: its caches of versions and plugins, nothing else. */
export interface Home {
  /** The engine's own home. */
  folder: string;
  versions: string;
  /** Where `npx pulumi` looks for the engine, and the engine for its language host. */
  engine: string;
  plugins: string;
  /** Where the engine looks for the command plugin. */
  commandPlugin: string;
  /** Held by the process that changes one of the above. */
  lock: string;
}

/**
 * The places for this environment; PULUMI_HOME defaults to ~/.pulumi. The two programs resolve ~ differently:
 * `npx pulumi` uses HOME, the engine uses the user's entry in the password file.
 */
export function homeOf(env: NodeJS.ProcessEnv): Home {
  const set = env.PULUMI_HOME ?? "";
  const versions = join(set === "" ? join(homedir(), ".pulumi") : set, "versions");
  const folder = set === "" ? join(entryHome(), ".pulumi") : set;
  const plugins = join(folder, "plugins");
  return {
    folder,
    versions,
    engine: join(versions, ENGINE_VERSION),
    plugins,
    commandPlugin: join(plugins, `resource-command-v${COMMAND_VERSION}`),
    lock: join(versions, ".lsyncd-as-code.lock"),
  };
}

/** The home directory in the password file; if the user has no entry there, the engine uses HOME too. */
function entryHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    return homedir();
  }
}
