import { defaults, type HostSettings } from "../../infra/config";
import { renderFiles, type Restart } from "../../infra/files";

/** A host with every feature enabled, so that every managed file is rendered. */
const everything: HostSettings = {
  ...defaults,
  ...{ name: "host", address: "192.0.2.1", port: 22, user: "root" },
  smtp: { host: "smtp.example.com", from: "root@example.com", tls: "starttls" },
};

/** By the path of a managed file: what has to be restarted when it changes. */
export function restartsOf(): Map<string, Restart> {
  return new Map(renderFiles(everything).map(({ path, restart }) => [path, restart]));
}
