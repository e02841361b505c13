import { homedir } from "node:os";
import { join } from "node:path";

/** The version of the engine, of its npm package and of the Go modules it is built from where it can't be downloaded. */
export const ENGINE_VERSION = "3.250.0";

/** The version of the command plugin, the same as that of the package @pulumi/command. */
export const COMMAND_VERSION = "1.2.1";

/** The places under PULUMI_HOME this toolchain reads and writes: its caches of versions and plugins, nothing else. */
export interface Home {
  folder: string;
  versions: string;
  /** Where `npx pulumi` looks for the engine, and the engine for its language host. */
  engine: string;
  plugins: string;
  /** Where the engine looks for the command plugin. */
  commandPlugin: string;
  /** Held by whoever is changing one of the above. */
  lock: string;
}

/** The places for this environment; PULUMI_HOME is ~/.pulumi unless it is set. */
export function homeOf(env: NodeJS.ProcessEnv): Home {
  const folder = env.PULUMI_HOME === undefined || env.PULUMI_HOME === "" ? join(homedir(), ".pulumi") : env.PULUMI_HOME;
  const versions = join(folder, "versions");
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
