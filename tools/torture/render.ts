import { chmod, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { defaults } from "../../infra/config";
import { libDirectory, paths } from "../../infra/paths";
import { render } from "../../infra/render";
import { programs } from "./settings";

/** Where the host's programs work in a test. */
export interface ProgramSettings {
  /** Their state directory. */
  sqliteStateDirectory: string;
  source: string;
  target: string;
  /** The program that says whether source and target are the volumes that are mirrored; by default it always does. */
  guard?: string;
  /** What runs in rsync's place; by default the program that copies databases. */
  copyProgram?: string;
  /** What is run as rsync, if not rsync itself. */
  rsyncProgram?: string;
  /** Databases that may be deleted from the mirror. */
  grantsFile?: string;
  /** Seconds for which writers may be held up. */
  sqliteLockSeconds?: number;
}

/** Renders the programs that copy databases into a directory, executable, with the default settings. */
export async function renderPrograms(directory: string, settings: ProgramSettings): Promise<void> {
  await mkdir(directory, { recursive: true });
  await symlink(path.join(programs, "LsyncdAsCode"), path.join(directory, "LsyncdAsCode")).catch(() => undefined);
  const marks = path.join(settings.sqliteStateDirectory, "marks");
  for (const name of ["lsyncd-rsync"]) {
    const file = path.join(directory, name);
    await writeFile(
      file,
      render(`${libDirectory.slice(1)}/${name}.hbs`, {
        ...defaults,
        ...paths,
        resyncFile: path.join(marks, "resync"),
        heldFile: path.join(marks, "held"),
        allowFile: path.join(marks, "allow"),
        entriesFile: path.join(marks, "entries"),
        grantsFile: path.join(settings.sqliteStateDirectory, "grants"),
        passPrefix: path.join(marks, "pass."),
        copyProgram: path.join(directory, "lsyncd-rsync"),
        // The file system of a test is everybody's: what others delete on it is no reason to hold a mirror.
        deletionLimit: 1e9,
        ...settings,
        // Directories of a test are no volumes; the guard has tests of its own.
        guard: settings.guard ?? "/bin/true",
      }),
    );
    await chmod(file, 0o755);
  }
}
