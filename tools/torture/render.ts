import { chmod, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { defaults } from "../../infra/config";
import { libDirectory, paths } from "../../infra/paths";
import { render } from "../../infra/render";

/** Where the host's programs work in a test. */
export interface ProgramSettings {
  /** Their state directory. */
  sqliteStateDirectory: string;
  source: string;
  target: string;
  /** The program that says whether source and target are the volumes that are mirrored; by default it always does. */
  guard?: string;
}

/** Renders the programs that copy and check databases into a directory, executable, with the default settings. */
export async function renderPrograms(directory: string, settings: ProgramSettings): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const name of ["lsyncd-rsync", "lsyncd-verify", "sqlite.pm"]) {
    const file = path.join(directory, name);
    await writeFile(
      file,
      render(`${libDirectory.slice(1)}/${name}.hbs`, {
        ...defaults,
        ...paths,
        ...settings,
        // Directories of a test are no volumes; the guard has tests of its own.
        guard: settings.guard ?? "/bin/true",
      }),
    );
    await chmod(file, 0o755);
  }
}
