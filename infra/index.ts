import * as pulumi from "@pulumi/pulumi";
import { readSettings, SettingsError } from "./config";
import { connections } from "./connection";
import { knownHostKey } from "./known-hosts";
import { Mirror, type MirrorState } from "./mirror";

function read() {
  try {
    const settings = readSettings({ stack: pulumi.runtime.allConfig(), env: process.env });
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
