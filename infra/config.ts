import { z } from "zod";
import { loginKey } from "./private-key";
import { optionsWithoutDatabases } from "./rsync-options";
import * as field from "./schema";
import { parseJump, readIdentity, sshHost, type SshHost, type SshLookup } from "./ssh-config";

/** The settings for the whole stack that a host can override. */
const mirrorShape = {
  source: field.volumePath.describe("Directory to mirror: the mount point of the primary volume."),
  target: field.volumePath.describe("Directory of the mirror: the mount point of the secondary volume."),
  alertRecipients: field.recipients.describe("Recipients of the alert mails."),
  delay: field.whole(1, 3600).describe("Seconds for which lsyncd collects changes before it mirrors them."),
  compress: field.flag.describe("Compress during transfer; useless between local disks."),
  wholeFile: field.flag.describe("Copy whole files; false writes only the changed parts."),
  rsyncOptions: field.rsyncOptions.describe(
    "Further rsync options, in addition to those that archive, compress and wholeFile set.",
  ),
  sqliteSafe: field.flag.describe("Copy SQLite databases using SQLite's own locking; false leaves them to rsync."),
  inotifyMode: field.inotifyMode
    .optional()
    .describe("When lsyncd notices a change; by default also while a file is open, if sqliteSafe is true."),
  sqlitePatterns: field.namePatterns.describe(
    "Names of SQLite databases; unencrypted ones are also recognised by their header.",
  ),
  sqliteLockSeconds: field
    .whole(1, 60)
    .describe("Longest time, in seconds, for which a copy may block the writers of a database."),
  sqliteCopyShare: field
    .whole(1, 100)
    .describe("Largest share of time, in percent, that copying one database may take."),
  verifySchedule: field.calendar.describe(
    "When each host compares its mirror with the source by content, at low priority, and repairs it; empty for never.",
  ),
  deletionLimit: field
    .whole(1, 100000000)
    .describe("Number of files that may be deleted from the mirror within ten minutes, whatever its size."),
  deletionShare: field
    .whole(1, 100)
    .describe("Percentage of the mirror's files that may be deleted within ten minutes."),
  keepDeletedDays: field
    .whole(0, 3650)
    .describe("Days to keep deleted files on the target for `lsyncd-undelete`; 0 keeps none."),
  requireEncryption: field.flag.describe("Refuse volumes that are not on dm-crypt, instead of warning."),
  acceptVolumes: field.volumeIds.describe("UUIDs of volumes that may replace those deployed before."),
  alertInterval: field.whole(60, 604800).describe("Seconds before an alert for the same problem is repeated."),
  backlogLimit: field.whole(1, 1000000).describe("Alert when more changes than this are pending."),
  diskLimit: field
    .whole(1, 99)
    .describe("Alert when more than this percentage of the target's space or inodes is in use."),
  watchLimit: field.whole(1, 99).describe("Alert when more than this percentage of the inotify watches is in use."),
  memoryLimit: field
    .whole(1, 99)
    .describe("Alert when more than this percentage of the unit's memory limit is in use."),
  restartLimit: field.whole(1, 1000).describe("Alert when lsyncd restarts at least this many times in an hour."),
  testAlert: field.flag.describe("Send a test mail after the first deployment to a host."),
  smtp: field.smtp.optional().describe("Mail server for the alerts; without it, the host's sendmail."),
  alertCommand: field.command.describe("Program and arguments; it receives each alert as JSON on standard input."),
  alertUser: field.userName.describe("User that runs alertCommand."),
  metricsFile: field.metricsFile.describe(
    "File to which the monitor writes metrics for node_exporter's textfile collector; empty for none.",
  ),
  heartbeatUrl: field.url
    .optional()
    .describe("URL that the monitor calls after each healthy run, and with /fail appended after others."),
};

/** The default settings of a mirror: the values of the documentation that this replaces. */
export const defaults: MirrorSettings = {
  source: "/mnt/storage_do_1",
  target: "/mnt/storage_do_2",
  alertRecipients: ["security@forwardemail.net"],
  delay: 1,
  compress: false,
  wholeFile: true,
  rsyncOptions: ["--delete", "--delete-after", "--inplace", "--no-perms", "--omit-dir-times"],
  sqliteSafe: true,
  sqlitePatterns: ["*.sqlite", "*.sqlite3", "*.db"],
  sqliteLockSeconds: 2,
  sqliteCopyShare: 20,
  verifySchedule: "weekly",
  deletionLimit: 100,
  deletionShare: 20,
  keepDeletedDays: 0,
  requireEncryption: false,
  acceptVolumes: [],
  alertInterval: 3600,
  backlogLimit: 100,
  diskLimit: 90,
  watchLimit: 90,
  memoryLimit: 90,
  restartLimit: 5,
  testAlert: false,
  alertCommand: [],
  alertUser: "nobody",
  metricsFile: "",
};

/** How to get at a host, for the whole stack and, over it, for one host. */
const accessShape = {
  port: field.whole(1, 65535).describe("Port of the host's SSH server."),
  user: field.userName.describe("Login name; any user but root needs sudo."),
  privateKey: field.login.privateKey.optional().describe("SSH private key; without it, the running ssh-agent is used."),
  privateKeyPassphrase: field.login.privateKeyPassphrase.optional().describe("Passphrase of the private key."),
  password: field.login.password.optional().describe("Login password, used after or instead of a private key."),
  becomePassword: field.becomePassword.optional().describe("Password for sudo, if it asks for one."),
  bastion: field.bastion.optional().describe("Jump host: its address, port, user and login."),
  sshConfig: field.flag.describe("Read settings that are missing here from ~/.ssh/config."),
};

/** Defaults for logging in. */
const accessDefaults = { port: 22, user: "root", sshConfig: false };

const mirror = z.strictObject(mirrorShape);
const common = mirror.extend(accessShape).partial();
const host = common.extend({
  name: field.hostName.describe("Name of the host in previews and in the stack's outputs."),
  address: field.hostAddress.describe("DNS name or IP address to connect to."),
  hostKey: field.publicKey
    .optional()
    .describe(
      "Public key of the host; without it, the key in known_hosts is used, or the one that an authority there certifies.",
    ),
});
const stack = common.extend({
  hosts: z.array(host, { error: "must be a list of hosts" }).min(1, { error: "must name at least one host" }),
});

/** The environment variables that override the stack, and the setting each stands for. */
const environment = { LSYNCD_SOURCE: "source", LSYNCD_TARGET: "target", MSMTP_RCPTS: "alertRecipients" } as const;

/**
 * Variables that pass over a refusal of the preflight, for one run. LSYNCD_SKIP_SAFETY: the target holds data.
 * LSYNCD_EMPTY_SOURCE_ERASES_MIRROR: the source is empty and the mirror is not.
 */
const waiverNames = ["LSYNCD_SKIP_SAFETY", "LSYNCD_EMPTY_SOURCE_ERASES_MIRROR"] as const;

/** All settings, for their documentation: the schemas, and what is not in them. */
export const documented = { host, stack, accessDefaults, environment, waiverNames };

/** A refusal that can be passed over, by the name of its variable. */
export type Waiver = (typeof waiverNames)[number];

/** The settings of one mirror. */
export type MirrorSettings = z.output<typeof mirror>;
/** How to log in to a host and to become root there. */
export interface Access {
  port: number;
  user: string;
  privateKey?: string;
  privateKeyPassphrase?: string;
  password?: string;
  becomePassword?: string;
  bastion?: z.output<typeof field.bastion> & { hostKeyAlias?: string };
  /** The name of the host's key in known_hosts, where it is another than its address. */
  hostKeyAlias?: string;
}
/** One host with all its settings resolved. */
export interface HostSettings extends MirrorSettings, Access {
  name: string;
  address: string;
  hostKey?: string;
}
/** The settings of one run. */
export interface Settings {
  hosts: HostSettings[];
  /** The refusals that this run passes over. */
  waived: Waiver[];
}

/** Where the settings come from. */
export interface Sources {
  /** The stack's configuration as Pulumi hands it over: `lsyncd:key` and a text, JSON for lists and objects. */
  stack: Record<string, string>;
  env: Record<string, string | undefined>;
  /** Reads ~/.ssh/config, for hosts that say so; as ssh itself does unless given. */
  ssh?: SshLookup;
}

/** Bad settings: one message that holds all faults, each with the path of its key, and the page that helps. */
export class SettingsError extends Error {
  constructor(
    readonly faults: string[],
    page = "docs/configuration.md",
  ) {
    super(
      `Invalid configuration (${faults.length === 1 ? "1 fault" : `${faults.length} faults`}); no host was contacted:\n` +
        faults.map((fault) => `  - ${fault}`).join("\n") +
        `\nMore: ${page}`,
    );
    this.name = "SettingsError";
  }
}

const namespace = "lsyncd:";

/** Reads lists and objects, which Pulumi hands over as JSON; every other value stays the text it is. */
function decode(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function path(parts: PropertyKey[]): string {
  return parts
    .map((part, index) => (typeof part === "number" ? `[${String(part)}]` : `${index === 0 ? "" : "."}${String(part)}`))
    .join("");
}

function describeIssue(issue: z.core.$ZodIssue, prefix: string): string[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => `${prefix}${path([...issue.path, key])}: unknown setting (typo?)`);
  }
  const missing = issue.code === "invalid_type" && issue.input === undefined;
  return [`${prefix}${path(issue.path)}: ${missing ? "is missing" : issue.message}`];
}

function duplicates(hosts: { value: string; key: string }[]): string[] {
  const seen = new Map<string, string>();
  return hosts.flatMap(({ value, key }) => {
    const first = seen.get(value);
    seen.set(value, first ?? key);
    return first === undefined ? [] : [`${namespace}${key}: ${value} is already used by ${namespace}${first}`];
  });
}

/**
 * Makes the settings out of the stack's configuration and the environment. Precedence: environment variable, then
 * the host's entry, then the stack, then the default. An empty variable counts as unset.
 * Throws a SettingsError that names every fault.
 */
export function readSettings({ stack: raw, env, ssh = sshHost }: Sources): Settings {
  const faults: string[] = [];

  const own = Object.entries(raw).filter(([key]) => key.startsWith(namespace));
  const parsed = stack.safeParse(
    Object.fromEntries(own.map(([key, text]) => [key.slice(namespace.length), decode(text)])),
    {
      reportInput: true,
    },
  );
  if (!parsed.success) faults.push(...parsed.error.issues.flatMap((issue) => describeIssue(issue, namespace)));

  const set = (name: string): string | undefined => (env[name]?.trim() ? env[name] : undefined);
  const overrides: Partial<MirrorSettings> = {};
  for (const [name, key] of Object.entries(environment)) {
    const value = set(name);
    if (value === undefined) continue;
    const result = mirror.partial().safeParse({ [key]: value });
    if (result.success) Object.assign(overrides, result.data);
    else faults.push(...result.error.issues.map((issue) => `${name}: ${issue.message}`));
  }
  const waived = waiverNames.filter((name) => {
    const flag = field.flag.safeParse(set(name) ?? "false");
    if (!flag.success) faults.push(`${name}: must be true or false, not ${JSON.stringify(env[name])}`);
    return flag.data;
  });

  if (!parsed.success) throw new SettingsError(faults);
  const { hosts: entries, ...shared } = parsed.data;
  const hosts = entries.map((entry) => {
    // A passphrase belongs to the key that it was set with.
    const inherited = { ...shared };
    if (entry.privateKey !== undefined) delete inherited.privateKeyPassphrase;
    const given = { ...inherited, ...entry };
    const found = given.sshConfig === true ? fromSshConfig(given as Given, ssh, (fault) => faults.push(fault)) : given;
    return { ...defaults, ...accessDefaults, ...found, ...overrides } as HostSettings;
  });
  faults.push(
    ...duplicates(hosts.map(({ name }, index) => ({ value: name, key: `hosts[${String(index)}].name` }))),
    ...duplicates(
      hosts.map(({ address, port, bastion }, index) => ({
        // Two networks behind two bastions may use the same addresses.
        value: `${address.toLowerCase()} port ${String(port)}${bastion ? ` behind ${bastion.address}` : ""}`,
        key: `hosts[${String(index)}].address`,
      })),
    ),
    ...hosts.flatMap(({ source, target }, index) =>
      source === target || source.startsWith(`${target}/`) || target.startsWith(`${source}/`)
        ? [
            `${namespace}hosts[${String(index)}]: source ${source} and target ${target} must not be the same or inside each other`,
          ]
        : [],
    ),
    ...hosts.flatMap(({ sqliteSafe, rsyncOptions }, index) =>
      optionsWithoutDatabases(sqliteSafe ? rsyncOptions : []).map(
        (option) =>
          `${namespace}hosts[${String(index)}]: the option ${option} does not apply to SQLite databases, which are copied under their locks and not by rsync; remove it from rsyncOptions, or set sqliteSafe to false`,
      ),
    ),
  );
  if (faults.length > 0) throw new SettingsError(faults);
  return { hosts, waived };
}

type Given = Partial<Access> & { name: string; address: string };

/** A host's own settings, completed from ~/.ssh/config. */
function fromSshConfig(given: Given, ssh: SshLookup, refuse: (fault: string) => void): Given {
  const whose = `${namespace}sshConfig of ${given.name}`;
  const look = (address: string): SshHost | undefined => {
    try {
      return ssh(address, accessDefaults);
    } catch (error) {
      const { stderr = "", message } = error as Error & { stderr?: string };
      refuse(`${whose}: ssh cannot read this part of ~/.ssh/config: ${stderr.trim() || message}`);
      return undefined;
    }
  };
  const host = look(given.address);
  if (host === undefined) return given;
  const { address, port, user, jump, hostKeyAlias } = host;
  const found: Given = { ...given, address, port: given.port ?? port, user: given.user ?? user, ...keyOf(host, given) };
  if (hostKeyAlias !== undefined) found.hostKeyAlias = hostKeyAlias;
  if (jump === undefined || given.bastion !== undefined) return found;
  const way = parseJump(jump);
  const behind = way && look(way.address);
  if (way === undefined)
    refuse(`${whose}: ProxyJump ${jump} names more than one jump host, and only one is supported: set bastion`);
  else if (behind?.jump !== undefined)
    refuse(
      `${whose}: ${way.address} is itself behind ${behind.jump}, and only one jump host is supported: set bastion`,
    );
  else if (behind !== undefined)
    found.bastion = {
      ...{ address: behind.address, port: way.port ?? behind.port, user: way.user ?? behind.user },
      ...keyOf(behind, {}),
      ...(behind.hostKeyAlias === undefined ? {} : { hostKeyAlias: behind.hostKeyAlias }),
    };
  return found;
}

/** The key of an IdentityFile. One that is encrypted, without its passphrase here, is left to the ssh-agent. */
function keyOf(host: SshHost, given: Partial<Access>): Pick<Access, "privateKey"> {
  if (given.privateKey !== undefined) return {};
  const identity = readIdentity(host);
  if (identity === undefined || !usable(identity.text, given.privateKeyPassphrase)) return {};
  return { privateKey: identity.text };
}

function usable(key: string, passphrase: string | undefined): boolean {
  try {
    loginKey(key, passphrase);
    return true;
  } catch {
    return false;
  }
}

// The secrets of logins. Other secrets are encrypted at their files and commands.
const keys = ["privateKey", "privateKeyPassphrase", "password", "becomePassword"];

/**
 * The faults of a configuration whose secrets are in the clear: the stack file would hold them, and the state with it.
 * A secret within `hosts` makes all of `hosts` an encrypted key. Nothing is a fault when the keys are not known.
 */
export function plainSecrets(stack: Record<string, string>, encrypted: string[] | undefined): string[] {
  if (encrypted === undefined) return [];
  const names = [...keys.map((key) => namespace + key), `${namespace}bastion`, `${namespace}hosts`];
  const holds = (value: unknown): boolean =>
    typeof value === "object" &&
    value !== null &&
    Object.entries(value).some(([key, inner]) => (typeof inner === "string" ? keys.includes(key) : holds(inner)));
  return names
    .filter((name) => {
      const text = stack[name];
      if (text === undefined || encrypted.includes(name)) return false;
      return name === `${namespace}bastion` || name === `${namespace}hosts` ? holds(decode(text)) : true;
    })
    .map(
      (name) => `${name}: holds a key or a password in the clear; set it with: pulumi config set --secret --path KEY`,
    );
}
