import { defaults, type HostSettings } from "../../infra/config";
import { renderFiles, type ManagedFile } from "../../infra/files";

/** A host with everything switched on, so that every managed file is there. */
const everything: HostSettings = {
  ...defaults,
  ...{ name: "host", address: "192.0.2.1", port: 22, user: "root" },
  smtp: { host: "smtp.example.com", from: "root@example.com", tls: "starttls" },
};

/** The managed files, by their names in the resource tree. */
export function managedFiles(): Map<string, ManagedFile> {
  return new Map(renderFiles(everything).map(({ name, path, mode, restart }) => [name, { name, path, mode, restart }]));
}
