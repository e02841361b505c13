import { createHash } from "node:crypto";
import type { HostSettings } from "./config";
import { paths } from "./paths";
import { render } from "./render";

/** What has to be restarted when a file changes. A restart of lsyncd costs a full pass over the volume. */
export type Restart = "lsyncd" | "monitor" | "none";

/** A file that the program installs on a host. */
export interface ManagedFile {
  /** Its name in the resource tree. */
  name: string;
  /** Where it is on the host. Its template has the same path below templates/. */
  path: string;
  /** Its mode in octal; owner and group are root. */
  mode: string;
  restart: Restart;
}

/** Every managed file, in the order in which they are put in place: what others call comes first. */
export const managedFiles: ManagedFile[] = [
  { name: "guard", path: paths.guard, mode: "0755", restart: "none" },
  { name: "run", path: paths.runProgram, mode: "0755", restart: "lsyncd" },
  { name: "mirror", path: paths.mirrorProgram, mode: "0755", restart: "none" },
  { name: "alert", path: paths.alertProgram, mode: "0755", restart: "none" },
  { name: "monitor", path: "/usr/local/bin/lsyncd-monitor.sh", mode: "0755", restart: "none" },
  { name: "monitor-service", path: "/etc/systemd/system/lsyncd-monitor.service", mode: "0644", restart: "none" },
  { name: "monitor-timer", path: "/etc/systemd/system/lsyncd-monitor.timer", mode: "0644", restart: "monitor" },
  { name: "config", path: paths.configFile, mode: "0644", restart: "lsyncd" },
  {
    name: "override",
    path: "/etc/systemd/system/lsyncd.service.d/override.conf",
    mode: "0644",
    restart: "lsyncd",
  },
];

/** A managed file with the text it has on one host. */
export interface RenderedFile extends ManagedFile {
  content: string;
}

/** The managed files of a host, rendered with its settings. */
export function renderFiles(host: HostSettings): RenderedFile[] {
  const context = { ...host, ...paths };
  return managedFiles.map((file) => ({ ...file, content: render(`${file.path.slice(1)}.hbs`, context) }));
}

/** What an activation compares with the host: a line for each file with its mode, SHA-256, restart and path. */
export function manifest(files: RenderedFile[]): string {
  return files
    .map(({ mode, content, restart, path }) =>
      [mode, createHash("sha256").update(content).digest("hex"), restart, path].join(" "),
    )
    .join("\n");
}
