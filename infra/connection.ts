import type { types } from "@pulumi/command";
import type { HostSettings, Settings } from "./config";
import { SettingsError } from "./config";

/** How to reach a host, with nothing left to chance: its key is known before the first connection. */
export interface Connection {
  host: string;
  port: number;
  user: string;
  hostKey: string;
  privateKey?: string;
}

/**
 * The connections of all hosts. A host without a `hostKey` is looked up with `lookup`; those that are not found are
 * refused together, because a connection without a known key would trust whoever answers.
 */
export function connections(
  settings: Settings,
  lookup: (address: string, port: number) => string | undefined,
): Map<string, Connection> {
  const faults: string[] = [];
  const found = settings.hosts.map((host): [string, Connection] => {
    const hostKey = host.hostKey ?? lookup(host.address, host.port);
    if (hostKey === undefined) faults.push(unknownHost(host));
    const { privateKey } = settings;
    return [
      host.name,
      {
        host: host.address,
        port: host.port,
        user: host.user,
        hostKey: hostKey ?? "",
        ...(privateKey === undefined ? {} : { privateKey }),
      },
    ];
  });
  if (faults.length > 0) throw new SettingsError(faults);
  return new Map(found);
}

function unknownHost({ name, address, port }: HostSettings): string {
  return (
    `lsyncd:hosts ${name}: the key of ${address} port ${port} is not known. Compare it with the host's own ` +
    `(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), then set hostKey, or add it to your known_hosts: ` +
    `ssh-keyscan -p ${port} ${address} >> ~/.ssh/known_hosts`
  );
}

/** Arguments of a remote command: at most 30 s to reach a host, in two tries. */
export function commandConnection(connection: Connection): types.input.remote.ConnectionArgs {
  return { ...connection, dialErrorLimit: 2, perDialTimeout: 15 };
}
