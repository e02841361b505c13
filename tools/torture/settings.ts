import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { defaults } from "../../infra/config";
import { libDirectory, paths } from "../../infra/paths";
import { plainRsyncOptions } from "../../infra/rsync-options";
import { contentOf } from "../../infra/render";

/** The folder of the host's programs in the working copy. */
export const programs = resolve(__dirname, "../../templates", libDirectory.slice(1));

/**
 * Writes the settings that the host's programs read (LSYNCD_SETTINGS) into a directory: the defaults, all marks below
 * `state`, and the given overrides.
 */
export async function writeSettings(
  directory: string,
  given: { state: string } & Record<string, unknown>,
): Promise<void> {
  const { state, ...rest } = given;
  const marks = {
    stateDirectory: state,
    runDirectory: state,
    sqliteStateDirectory: state,
    resyncFile: join(state, "resync"),
    heldFile: join(state, "held"),
    allowFile: join(state, "allow"),
    acceptFile: join(state, "accept"),
    failoverFile: join(state, "failover"),
    entriesFile: join(state, "entries"),
    grantsFile: join(state, "grants"),
    passPrefix: join(state, "pass."),
    monitorRanFile: join(state, "ran"),
  };
  // A test's directories are not volumes; the guard has its own tests.
  const own = { copyProgram: paths.rsyncProgram, guard: "/bin/true" };
  const plainOptions = plainRsyncOptions(defaults.rsyncOptions);
  const values = { ...defaults, ...paths, ...marks, ...own, plainOptions, ...rest };
  await mkdir(directory, { recursive: true });
  await mkdir(state, { recursive: true });
  for (const name of ["mirror", "limits"])
    await writeFile(join(directory, `${name}.conf`), contentOf(`/etc/lsyncd/${name}.conf`, values));
}
