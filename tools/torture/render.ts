import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import Handlebars from "handlebars";

/** A value that a Perl literal can hold. */
export type PerlValue = string | number | boolean | readonly PerlValue[];

/**
 * Quotes a value as a Perl literal: a single-quoted string, a number, 1 or 0, or a reference to an array of them.
 * Throws on a number that is not finite and on a NUL, which no path or address can hold.
 */
export function perl(value: PerlValue): string {
  if (typeof value === "string") {
    if (value.includes("\0")) throw new Error("a Perl string from the settings must not hold a NUL character");
    return `'${value.replace(/[\\']/g, "\\$&")}'`;
  }
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Error(`${value} is not a number that a program on the host can use`);
    return value.toString();
  }
  return `[${value.map(perl).join(", ")}]`;
}

/** The values that the programs' templates need. */
export interface ProgramSettings {
  rsyncBinary: string;
  stateDirectory: string;
  sqlitePatterns: readonly string[];
  /** Seconds that writers may be held up. */
  sqliteLockSeconds: number;
  /** Share of the time (0 to 1) that copying one database may take. */
  sqliteCopyShare: number;
  source: string;
  target: string;
}

/** The defaults of the settings that are not paths of a test. */
export const DEFAULTS = {
  rsyncBinary: "/usr/bin/rsync",
  sqlitePatterns: ["*.sqlite", "*.sqlite3", "*.db"],
  sqliteLockSeconds: 2,
  sqliteCopyShare: 0.2,
} as const;

const TEMPLATES = path.join(__dirname, "../../templates/usr/local/lib/lsyncd-as-code");

/** Renders one template text; a value that is missing is an error. */
export function renderText(text: string, settings: ProgramSettings): string {
  const handlebars = Handlebars.create();
  handlebars.registerHelper("perl", (value: PerlValue) => new Handlebars.SafeString(perl(value)));
  return handlebars.compile(text, { strict: true, noEscape: true })(settings);
}

/** Renders the host's programs into a directory, executable. */
export async function renderPrograms(directory: string, settings: ProgramSettings): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(TEMPLATES)) {
    const text = await readFile(path.join(TEMPLATES, name), "utf8");
    const file = path.join(directory, name.replace(/\.hbs$/, ""));
    await writeFile(file, name.endsWith(".hbs") ? renderText(text, settings) : text);
    await chmod(file, 0o755);
  }
}
