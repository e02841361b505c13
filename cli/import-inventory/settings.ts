import { isDeepStrictEqual } from "node:util";
import { readSettings, SettingsError } from "../../infra/config";
import { countedList } from "../preview/names";
import type { InventoryHost } from "./inventory";
import { readJump, readSshArguments } from "./ssh-arguments";

/** An inventory as settings of a stack, and what is left to do by hand. */
export interface Imported {
  /** What all hosts have in common: settings of the stack. */
  common: Record<string, unknown>;
  /** The entries of `lsyncd:hosts`. */
  hosts: Record<string, unknown>[];
  /** Hosts that are not among them, with the reason. */
  left: string[];
  /** What was taken over in another way or not at all, with what to do. Equal remarks once, with their hosts. */
  remarks: string[];
}

/** What the person who imports says beside the inventory. */
export interface ImportOptions {
  stack: string;
  /** Who logs in where the inventory does not say, as `ansible-playbook --user`. */
  user?: string;
}

/** Whether a host's entry may have this setting, in this form. */
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

// Variables that say how to reach a host, by the names of today and those that Ansible still takes.
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

/** Makes the settings of a stack out of the hosts of an inventory. */
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
      left.push(`${name}: ansible_connection is ${written(connection)}, and this program works over SSH only`);
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
      remark(name, "another user than root, or another way to become it than sudo; here it is sudo to root");

    const address = first(reaching.address ?? []) ?? name;
    const port = first(reaching.port ?? []);
    const user = first(reaching.user ?? []) ?? defaultUser;
    if (user === undefined)
      remark(
        name,
        "no ansible_user, so root logs in here. Ansible took --user, remote_user in ansible.cfg, or the login of the user who " +
          "ran it; give it here too: --user NAME",
      );
    else if (user !== "root" && first(["ansible_become"]) !== undefined && !yes(first(["ansible_become"])))
      remark(name, "ansible_become is false; this program needs root, and becomes it by sudo");

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
      else remark(name, `the way through ${jumps.join(" and then ")} could not be taken over`);
    }
    if (rest.length > 0) remark(name, `options for ssh that were not taken over: ${rest.join(" ")}`);
    if (unchecked.length > 0)
      remark(
        name,
        `${unchecked.join(" ")} is left out: a host's key is always checked here. Give it as hostKey, or have it in your ` +
          "known_hosts",
      );

    const key = first(["ansible_ssh_private_key_file", "ansible_private_key_file"]);
    if (key !== undefined) keys.set(written(key), [...(keys.get(written(key)) ?? []), name]);
    if (first(["ansible_become_password", "ansible_become_pass"]) !== undefined)
      remark(
        name,
        admits({ becomePassword: "x" })
          ? `a password for sudo. It was not written anywhere; store it encrypted: npx pulumi config set --secret becomePassword --stack ${stack}`
          : "a password for sudo; here sudo must ask for none",
      );
    if (first(["ansible_password", "ansible_ssh_pass"]) !== undefined)
      remark(
        name,
        admits({ password: "x" })
          ? `a password to log in. It was not written anywhere; store it encrypted: npx pulumi config set --secret password --stack ${stack}`
          : "a password to log in; here it takes a key or an ssh-agent",
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
    remarks.set(`the key ${path} to log in. Add it to your ssh-agent, or store it encrypted: ${set}`, names);
  } else {
    const at = (name: string | undefined): number => hosts.findIndex((host) => host.name === name);
    for (const [path, names] of keys)
      remarks.set(
        `the key ${path} to log in. Add it to your ssh-agent, or store it encrypted for each host, the first one by: ` +
          `npx pulumi config set --secret --path 'hosts[${at(names[0])}].privateKey' --stack ${stack} <${path}`,
        names,
      );
  }
  const lines = [...remarks].map(([text, names]) => `${countedList(names)}: ${text}`);
  if (others.size > 0)
    lines.push(`Variables that are not about reaching a host are not used: ${[...others].sort().join(", ")}`);
  const together = hosts.length > 0 ? faultOf(hosts) : undefined;
  if (together !== undefined) lines.push(`Fix this in the stack file before you deploy: ${together}`);
  return { ...hoist(hosts), left, remarks: lines };
}

/** Takes what all hosts have in common out of their entries. */
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

/** What the program itself would say about these hosts; undefined when it would take them. */
function faultOf(hosts: Record<string, unknown>[]): string | undefined {
  try {
    readSettings({ stack: { "lsyncd:hosts": JSON.stringify(hosts) }, env: {} });
    return undefined;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.faults.map((fault) => fault.replace(/^lsyncd:hosts\[\d+\]\.?/, "")).join("; ");
  }
}
