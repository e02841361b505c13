import * as pulumi from "@pulumi/pulumi";
import { plainSecrets, readSettings, SettingsError } from "./config";
import { connections } from "./connection";
import { knownHostKey } from "./known-hosts";
import { Mirror, type MirrorState } from "./mirror";

/** The keys of the configuration that are encrypted; undefined when whoever runs this does not say. */
function encryptedKeys(): string[] | undefined {
  const { PULUMI_CONFIG_SECRET_KEYS: keys } = process.env;
  return keys === undefined ? undefined : (JSON.parse(keys) as string[]);
}

function read() {
  try {
    const stack = pulumi.runtime.allConfig();
    const settings = readSettings({ stack, env: process.env });
    const plain = plainSecrets(stack, encryptedKeys());
    if (plain.length > 0) throw new SettingsError(plain, "docs/operations.md#secrets");
    return { settings, reach: connections(settings, knownHostKey) };
  } catch (error) {
    // Shown without a stack trace: the fault is not in the program.
    throw error instanceof SettingsError ? new pulumi.RunError(error.message) : error;
  }
}

const { settings, reach } = read();
const stack = `${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`;

/** What an operator asks first about each host. */
export const hosts: Record<string, pulumi.Output<MirrorState>> = {};
for (const host of settings.hosts) {
  const connection = reach.get(host.name);
  if (connection) hosts[host.name] = new Mirror(host.name, { host, connection, stack, waived: settings.waived }).state;
}
