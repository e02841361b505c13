import { sharedKeys, type Connection } from "./connection";
import { certifiedKey, UnusableCertificate } from "./host-certificate";
import { askCertificate } from "./ssh";
import { visible } from "./text";

/**
 * The connections, with the certified keys of hosts for which known_hosts only has an authority. Each such host is asked once;
 * all others are unchanged. Never rejects: a host whose certificate is missing or not accepted is marked `unverified`, and
 * nothing is sent to it.
 */
export async function certified(reach: Map<string, Connection>, now = new Date()): Promise<Map<string, Connection>> {
  const needs = ({ certificate, proxy }: Connection): boolean => (certificate ?? proxy?.certificate) !== undefined;
  if (![...reach.values()].some(needs)) return reach;
  // A bastion that hosts share is asked once.
  const asked = new Map<string, Promise<Connection>>();
  const once = (connection: Connection, who: string): Promise<Connection> => {
    const key = JSON.stringify(connection);
    const answer = asked.get(key) ?? verified(connection, who, now);
    asked.set(key, answer);
    return answer;
  };
  const all = await Promise.all(
    [...reach].map(async ([name, connection]): Promise<[string, Connection]> => {
      const { proxy } = connection;
      const to = proxy === undefined ? connection : { ...connection, proxy: await once(proxy, "the bastion ") };
      return [name, await once(to, "")];
    }),
  );
  const shared = sharedKeys(all.filter(([, { unverified }]) => unverified === undefined));
  return new Map(
    all.map(([name, connection]) => {
      const fault = shared.get(name);
      return [name, fault === undefined ? connection : { ...connection, unverified: fault }];
    }),
  );
}

async function verified(connection: Connection, who: string, now: Date): Promise<Connection> {
  const { certificate, ...known } = connection;
  if (certificate === undefined || known.proxy?.unverified !== undefined) return connection;
  const at = `${who}${known.user}@${known.host} port ${String(known.port)}`;
  try {
    const shown = await askCertificate(connection);
    return { ...known, hostKey: certifiedKey(shown, certificate.name, certificate, now) };
  } catch (error) {
    const { message } = error as Error;
    const fault =
      error instanceof UnusableCertificate ? `its key is not known, and its certificate ${message}` : message;
    return { ...connection, unverified: `${at}: ${visible(fault)}` };
  }
}
