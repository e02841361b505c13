import { certified } from "../infra/certified";
import type { HostSettings, Settings } from "../infra/config";
import { connections, type Connection } from "../infra/connection";
import { knownHostKey } from "../infra/known-hosts";

/**
 * Asks all hosts of a stack at once and returns the answers in the order of the hosts. If the key of a host is not known,
 * throws a SettingsError and contacts none.
 */
export async function eachHost<T>(
  settings: Settings,
  ask: (host: HostSettings, connection: Connection) => Promise<T>,
): Promise<T[]> {
  const reach = await certified(connections(settings, knownHostKey));
  return Promise.all(
    settings.hosts.flatMap((host) => {
      const connection = reach.get(host.name);
      return connection ? [ask(host, connection)] : [];
    }),
  );
}
