import { readSettings, type HostSettings } from "../../infra/config";
import { renderFiles, type Restart } from "../../infra/files";

/** A host with these settings and none of the environment. */
function hostWith(settings: Record<string, unknown>): HostSettings {
  const entry = { name: "sqlite-1", address: "192.0.2.11", ...settings };
  const [host] = readSettings({ stack: { "lsyncd:hosts": JSON.stringify([entry]) }, env: {} }).hosts;
  if (host === undefined) throw new Error("no host");
  return host;
}

/**
 * The services that a change of a setting from its default restarts, found by rendering every file before and after.
 * A removed file restarts nothing.
 */
export function restartOf(key: string, value: unknown): Restart {
  const before = new Map(renderFiles(hostWith({})).map((file) => [file.path, file.content]));
  const changed = renderFiles(hostWith({ [key]: value })).filter(({ path, content }) => before.get(path) !== content);
  const classes = changed.map(({ restart }) => restart);
  return classes.includes("lsyncd") ? "lsyncd" : classes.includes("monitor") ? "monitor" : "none";
}
