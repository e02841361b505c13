import { isDeepStrictEqual } from "node:util";
import { readSettings, SettingsError } from "../../infra/config";
import { countedList } from "../preview/names";
import type { InventoryHost } from "./inventory";
import { readJump, readSshArguments } from "./ssh-arguments";

/** An inventory as settings of a stack, and what remains to be done by hand. */
export interface Imported {
  /** Settings that all hosts share: settings of the stack. */
  common: Record<string, unknown>;
  /** The entries of `lsyncd:hosts`. */
  hosts: Record<string, unknown>[];
  /** Hosts that were not imported, with the reason. */
  left: string[];
  /** Variables that were imported differently or not at all, and what to do. Equal remarks appear once, with their hosts. */
  remarks: string[];
}

/** Options of the import. */
export interface ImportOptions {
  stack: string;
  /** Login for hosts without `ansible_user`, like `ansible-playbook --user`. */
  user?: string;
}

/** Whether a host's entry may have this setting with this value. */
function admits(extra: Record<string, unknown>): boolean {
  const entry = { name: "host", address: "192.0.2.1", ...extra };
  try {
    readSettings({ stack: { "lsyncd:hosts": JSON.stringify([entry]) }, env: {} });
    return true;
  } catch (error) {
    if (error instanceof SettingsError) return false;
    throw error;
  }
}

const isTemplate = (value: unknown): boolean => typeof value === "string" && /\{\{|\{%/.test(value);
const written = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
const yes = (value: unknown): boolean => /^(true|yes|on|1|y|t)$/i.test(String(value));

// Connection variables: the current names, and the older ones that Ansible still accepts.
const reaching: Record<string, string[]> = {
  address: ["ansible_host", "ansible_ssh_host"],
  port: ["ansible_port", "ansible_ssh_port"],
  user: ["ansible_user", "ansible_ssh_user"],
};
const argumentNames = ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"];
const handled = new Set([
  ...Object.values(reaching).flat(),
  ...argumentNames,
  ...["ansible_connection", "ansible_become", "ansible_become_user", "ansible_become_method"],
  ...["ansible_become_password", "ansible_become_pass", "ansible_password", "ansible_ssh_pass"],
  ...["ansible_private_key_file", "ansible_ssh_private_key_file"],
]);

/** Converts the hosts of an inventory into the settings of a stack. */
export function importHosts(inventory: InventoryHost[], { stack, user: defaultUser }: ImportOptions): Imported {
  const left: string[] = [];
  const remarks = new Map<string, string[]>();
  const remark = (host: string, text: string): void => {
    remarks.set(text, [...(remarks.get(text) ?? []), host]);
  };
  const others = new Set<string>();
  const keys = new Map<string, string[]>();

  const hosts = inventory.flatMap(({ name, variables }) => {
    const first = (names: string[]): unknown => names.map((key) => variables[key]).find((value) => value !== undefined);
    for (const key of Object.keys(variables)) if (!handled.has(key)) others.add(key);

    const connection = first(["ansible_connection"]) ?? "ssh";
    if (!["ssh", "smart", "paramiko", "paramiko_ssh"].includes(written(connection))) {
      left.push(`${name}: ansible_connection is ${written(connection)}, but this program uses SSH only`);
      return [];
    }
    const open = [...Object.values(reaching).flat(), ...argumentNames].filter((key) => isTemplate(variables[key]));
    if (open.length > 0) {
      left.push(
        `${name}: ${open.map((key) => `${key} is the template ${String(variables[key])}`).join(", ")}, ` +
          "which ansible-inventory does not evaluate. Write the value into the stack file",
      );
      return [];
    }
    const become = first(["ansible_become_user"]);
    const method = first(["ansible_become_method"]);
    if ((become !== undefined && become !== "root") || (method !== undefined && method !== "sudo"))
      remark(name, "becomes a user other than root, or uses a method other than sudo; this program uses sudo to root");

    const address = first(reaching.address ?? []) ?? name;
    const port = first(reaching.port ?? []);
    const user = first(reaching.user ?? []) ?? defaultUser;
    if (user === undefined)
      remark(
        name,
        "no ansible_user, so this program logs in as root. Ansible used --user, remote_user in ansible.cfg, or the local " +
          "user's name; if you need another login, import again with --user NAME",
      );
    else if (user !== "root" && first(["ansible_become"]) !== undefined && !yes(first(["ansible_become"])))
      remark(name, "ansible_become is false, but this program needs root and uses sudo");

    const entry: Record<string, unknown> = {
      name,
      address: written(address),
      ...(port === undefined || Number(port) === 22 ? {} : { port: Number(port) }),
      ...(user === undefined || user === "root" ? {} : { user: written(user) }),
    };

    const line = argumentNames
      .map((key) => variables[key])
      .filter((value) => typeof value === "string")
      .join(" ");
    const { jumps, rest, unchecked } = readSshArguments(line);
    const [jump, ...more] = jumps;
    if (jump !== undefined) {
      const bastion = readJump(jump);
      if (more.length === 0 && admits({ bastion })) entry.bastion = bastion;
      else remark(name, `the connection through ${jumps.join(" and then ")} could not be imported`);
    }
    if (rest.length > 0) remark(name, `ssh options that were not imported: ${rest.join(" ")}`);
    if (unchecked.length > 0)
      remark(
        name,
        `${unchecked.join(" ")} was not imported: this program always checks host keys. Set hostKey, or add the key to your ` +
          "known_hosts",
      );

    const key = first(["ansible_ssh_private_key_file", "ansible_private_key_file"]);
    if (key !== undefined) keys.set(written(key), [...(keys.get(written(key)) ?? []), name]);
    if (first(["ansible_become_password", "ansible_become_pass"]) !== undefined)
      remark(
        name,
        admits({ becomePassword: "x" })
          ? `a sudo password. It was not imported; store it encrypted: npx pulumi config set --secret becomePassword --stack ${stack}`
          : "a sudo password; this program needs sudo without a password",
      );
    if (first(["ansible_password", "ansible_ssh_pass"]) !== undefined)
      remark(
        name,
        admits({ password: "x" })
          ? `a login password. It was not imported; store it encrypted: npx pulumi config set --secret password --stack ${stack}`
          : "a login password; this program needs a key or an ssh-agent",
      );
    const fault = faultOf([entry]);
    if (fault !== undefined) {
      left.push(`${name}: ${fault}`);
      return [];
    }
    return [entry];
  });

  if (keys.size === 1) {
    const [[path, names] = ["", []]] = [...keys];
    const set = `npx pulumi config set --secret privateKey --stack ${stack} <${path}`;
    remarks.set(`login key ${path}. Add it to your ssh-agent, or store it encrypted: ${set}`, names);
  } else {
    const at = (name: string | undefined): number => hosts.findIndex((host) => host.name === name);
    for (const [path, names] of keys)
      remarks.set(
        `login key ${path}. Add it to your ssh-agent, or store it encrypted for each host, the first one with: ` +
          `npx pulumi config set --secret --path 'hosts[${at(names[0])}].privateKey' --stack ${stack} <${path}`,
        names,
      );
  }
  const lines = [...remarks].map(([text, names]) => `${countedList(names)}: ${text}`);
  if (others.size > 0)
    lines.push(`These variables are not about the connection and were not imported: ${[...others].sort().join(", ")}`);
  const together = hosts.length > 0 ? faultOf(hosts) : undefined;
  if (together !== undefined) lines.push(`Fix this in the stack file before you deploy: ${together}`);
  return { ...hoist(hosts), left, remarks: lines };
}

/** Moves settings that all hosts share out of their entries. */
function hoist(hosts: Record<string, unknown>[]): Pick<Imported, "common" | "hosts"> {
  const [first, ...rest] = hosts;
  if (first === undefined || rest.length === 0) return { common: {}, hosts };
  const shared = ["user", "port", "bastion"].filter(
    (key) => first[key] !== undefined && hosts.every((host) => isDeepStrictEqual(host[key], first[key])),
  );
  return {
    common: Object.fromEntries(shared.map((key) => [key, first[key]])),
    hosts: hosts.map((host) => Object.fromEntries(Object.entries(host).filter(([key]) => !shared.includes(key)))),
  };
}

/** The program's own error for these hosts; undefined if it accepts them. */
function faultOf(hosts: Record<string, unknown>[]): string | undefined {
  try {
    readSettings({ stack: { "lsyncd:hosts": JSON.stringify(hosts) }, env: {} });
    return undefined;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.faults.map((fault) => fault.replace(/^lsyncd:hosts\[\d+\]\.?/, "")).join("; ");
  }
}
