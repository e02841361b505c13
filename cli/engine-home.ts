import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { homeOf } from "../toolchain/home";

/** Where the engine writes its log, in its home. */
const logs = "logs";

/** Directories of the engine's home that it creates in its first run; they must be in the real home. */
const created = ["plugins", "workspaces"];

/**
 * Makes a home for the engine without a log, in a directory that is to be removed afterwards, and returns the variables for it. The
 * engine logs everything it does, which takes half of its CPU time and more, unless it cannot create the directory for that. All
 * else is linked to the real home. The engine replaces the file with credentials, so it gets the place of the real one.
 */
export async function homeWithoutLog(directory: string, env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const real = homeOf(env).folder;
  for (const name of created) await mkdir(join(real, name), { recursive: true });
  const home = join(directory, "engine-home");
  await mkdir(home);
  for (const name of await readdir(real)) if (name !== logs) await symlink(join(real, name), join(home, name));
  await writeFile(join(home, logs), "A file, so that the engine cannot create its log's directory.\n");
  return { PULUMI_HOME: home, PULUMI_CREDENTIALS_PATH: env.PULUMI_CREDENTIALS_PATH ?? real };
}
