import type { types } from "@pulumi/command";
import { SettingsError, type HostSettings, type Settings } from "./config";
import type { Authorities } from "./host-certificate";
import { loginKey, UnusableKey, type LoginKey } from "./private-key";

/** Where to connect and how to log in. The host key is known before the first connection. */
export interface Endpoint {
  host: string;
  port: number;
  user: string;
  hostKey: string;
  /** The name and the authorities that its certificate must have: until certified() has verified it, no host has hostKey. */
  certificate?: Authorities & { name: string };
  /** Why its certificate was not accepted: nothing is sent to the host. The end of a sentence about the host. */
  unverified?: string;
  privateKey?: string;
  privateKeyPassword?: string;
  password?: string;
}

/** How to reach a host, optionally through a bastion. */
export interface Connection extends Endpoint {
  proxy?: Endpoint;
}

/** Finds the public key of an SSH server, or the authorities that may certify it; undefined if there is neither. */
export type KeyLookup = (address: string, port: number) => string | Authorities | undefined;

type Login = Pick<HostSettings, "privateKey" | "privateKeyPassphrase" | "password">;

/** Creates logins; a key that hosts share is read once, and refused once. */
function logins(refuse: (fault: string) => void): (login: Login, whose: string) => Partial<Endpoint> {
  const known = new Map<string, LoginKey | undefined>();
  const read = (privateKey: string, passphrase: string | undefined, whose: string): LoginKey | undefined => {
    const same = JSON.stringify([privateKey, passphrase]);
    if (!known.has(same)) {
      known.set(same, undefined);
      try {
        known.set(same, loginKey(privateKey, passphrase));
      } catch (error) {
        if (!(error instanceof UnusableKey)) throw error;
        refuse(`lsyncd:privateKey of ${whose}: ${error.message}`);
      }
    }
    return known.get(same);
  };
  return ({ privateKey, privateKeyPassphrase, password }, whose) => ({
    ...(privateKey === undefined ? {} : read(privateKey, privateKeyPassphrase, whose)),
    ...(password === undefined ? {} : { password }),
  });
}

function endpoint(
  at: { address: string; port: number; user: string; hostKey?: string | undefined; hostKeyAlias?: string | undefined },
  known: KeyLookup,
  refuse: (fault: (address: string, port: number) => string) => void,
): Pick<Endpoint, "host" | "port" | "user" | "hostKey" | "certificate"> {
  // An alias stands in known_hosts without a port.
  const { hostKeyAlias: alias } = at;
  const hostKey = at.hostKey ?? (alias === undefined ? known(at.address, at.port) : known(alias, 22));
  const to = { host: at.address, port: at.port, user: at.user };
  if (typeof hostKey === "object") {
    // No host has an authority's key: a connection that expects it would be refused.
    const [none = ""] = hostKey.authorities;
    return { ...to, hostKey: none, certificate: { ...hostKey, name: alias ?? at.address } };
  }
  if (hostKey === undefined) refuse(unknownKey);
  else if (hostKey.startsWith("ssh-rsa ")) refuse(onlyRsa);
  return { ...to, hostKey: hostKey ?? "" };
}

/**
 * The connections of all hosts. Looks up the key of a host or bastion without `hostKey`, and refuses all unknown ones
 * together: a connection without a known key would trust any machine that answers.
 */
export function connections(settings: Settings, lookup: KeyLookup): Map<string, Connection> {
  const faults = new Set<string>();
  const login = logins((fault) => void faults.add(fault));
  const found = settings.hosts.map((host): [string, Connection] => {
    const { bastion } = host;
    const refuse =
      (whose: string, { address, port }: { address: string; port: number }) =>
      (fault: (address: string, port: number) => string): void =>
        void faults.add(`lsyncd:hosts ${whose}: ${fault(address, port)}`);
    const own = endpoint(host, lookup, refuse(host.name, host));
    const connection: Connection = { ...own, ...login(host, host.name) };
    if (bastion) {
      const way = endpoint(bastion, lookup, refuse("the bastion", bastion));
      const { privateKey, password } = bastion;
      connection.proxy = {
        ...way,
        ...(privateKey === undefined && password === undefined
          ? login(host, host.name)
          : login(bastion as Login, "the bastion")),
      };
    }
    return [host.name, connection];
  });
  for (const fault of duplicates(found)) faults.add(fault);
  if (faults.size > 0) {
    const keys = [...faults].every((fault) => fault.startsWith("lsyncd:privateKey"));
    const page = keys
      ? "docs/configuration.md#logging-in"
      : "docs/troubleshooting.md#a-host-key-is-unknown-or-has-changed";
    throw new SettingsError([...faults], page);
  }
  return new Map(found);
}

/** Refuses entries with the same host key: two entries for one machine would undo each other's deployments. */
function duplicates(found: [name: string, connection: Connection][]): string[] {
  const known = found.filter(([, { hostKey, certificate }]) => hostKey !== "" && certificate === undefined);
  return [...sharedKeys(known)].map(([name, fault]) => `lsyncd:hosts ${name}: ${fault}`);
}

/** For each connection with the host key of an earlier one, by its name: the error and what to do. */
export function sharedKeys(found: [name: string, connection: Connection][]): Map<string, string> {
  const owners = new Map<string, string>();
  const shared = new Map<string, string>();
  for (const [name, { hostKey }] of found) {
    const first = owners.get(hostKey);
    if (first === undefined) owners.set(hostKey, name);
    else
      shared.set(
        name,
        `has the host key of ${first}. If both are one machine, remove one of the entries; if one is a ` +
          `copy of the other, give it keys of its own (on it: rm /etc/ssh/ssh_host_*; dpkg-reconfigure openssh-server)`,
      );
  }
  return shared;
}

/** How to get the keys of a host: the end of a sentence. */
function scanned(address: string, port: number): string {
  const name = address.includes(":") ? `[${address}]` : address;
  const target = port === 22 ? address : `${name}:${String(port)}`;
  return (
    `\`npm run hosts:scan -- ${target}\`, compare it with the host's own (ssh-keygen -lf ` +
    `/etc/ssh/ssh_host_ed25519_key.pub there), then set hostKey, or add it to your known_hosts`
  );
}

const unknownKey = (address: string, port: number): string =>
  `the key of ${address} port ${String(port)} is not known. Print it with ${scanned(address, port)}`;

/** The command plugin requests signatures of the key's type, which for ssh-rsa is SHA-1: servers no longer offer it. */
const onlyRsa = (address: string, port: number): string =>
  `only the RSA key of ${address} port ${String(port)} is known. Remote commands can use an RSA key only with SHA-1, which ` +
  `servers refuse. Print its other key with ${scanned(address, port)}`;

// At most 30 s to reach a host, in two tries.
const limits = { dialErrorLimit: 2, perDialTimeout: 15 };

/** An endpoint without the program's own fields: the command plugin refuses unknown ones. */
function plain(endpoint: Endpoint): Endpoint {
  const arguments_ = { ...endpoint };
  delete arguments_.certificate;
  delete arguments_.unverified;
  return arguments_;
}

/** Arguments of a remote command. */
export function commandConnection({ proxy, ...own }: Connection): types.input.remote.ConnectionArgs {
  return { ...plain(own), ...limits, ...(proxy === undefined ? {} : { proxy: { ...plain(proxy), ...limits } }) };
}
