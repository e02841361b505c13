import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hostOf } from "../../tools/lint/samples";
import { renderFiles } from "../../infra/files";
import { conf } from "../../infra/quote";
import { libDirectory } from "../../infra/paths";

/** The folder of the host's programs and libraries, as a test calls them. */
export const library = join(__dirname, "../../templates", libDirectory);

/** The rendered settings of a host, by default or with the given settings of the stack. */
const rendered = (settings: Record<string, unknown>, file: string): string =>
  renderFiles(hostOf(settings)).find(({ path }) => path === `/etc/lsyncd/${file}`)?.content ?? "";

/**
 * Writes mirror.conf and limits.conf into a folder, as a host with these settings has them, with other values for some
 * names (`{ guard: "/tmp/x/guard" }`). Returns the environment in which a program reads them.
 */
export async function writeSettings(
  folder: string,
  values: Record<string, string> = {},
  settings: Record<string, unknown> = {},
): Promise<NodeJS.ProcessEnv> {
  await mkdir(folder, { recursive: true });
  for (const file of ["mirror.conf", "limits.conf"]) {
    const lines = rendered(settings, file)
      .split("\n")
      .map((line) => {
        const [, name = ""] = /^(\w+) = /.exec(line) ?? [];
        return values[name] === undefined ? line : `${name} = ${conf(values[name])}`;
      });
    await writeFile(join(folder, file), lines.join("\n"));
  }
  return { ...process.env, LSYNCD_SETTINGS: folder };
}
