import { defaults, type HostSettings } from "../../infra/config";
import { renderFiles, type Restart } from "../../infra/files";

/** A host with everything switched on, so that every managed file is there. */
const everything: HostSettings = {
  ...defaults,
  ...{ name: "host", address: "192.0.2.1", port: 22, user: "root" },
  smtp: { host: "smtp.example.com", from: "root@example.com", tls: "starttls" },
};

/** What has to be restarted when a managed file changes, by its path. */
export function restartsOf(): Map<string, Restart> {
  return new Map(renderFiles(everything).map(({ path, restart }) => [path, restart]));
}
