import { certified } from "./certified";
import * as commands from "./commands";
import { plainSecrets, readSettings, SettingsError, type HostSettings } from "./config";
import { connections, type Connection } from "./connection";
import { digest, renderFiles, type RenderedFile } from "./files";
import { knownHostKey } from "./known-hosts";
import { announcements } from "./lending";
import { Mirror, type MirrorState } from "./mirror";
import { leaveAlone, leaveWaivers, lookAt, notAsked, outOfReach, type Looked } from "./observe";
import { noteRefusal, passwordsOf, refusedBefore } from "./passwords";
import * as pulumi from "./pulumi";
import { isMeant } from "./targets";

/** The keys of the configuration that are encrypted; undefined when unknown. */
function encryptedKeys(): string[] | undefined {
  const { PULUMI_CONFIG_SECRET_KEYS: keys } = process.env;
  return keys === undefined ? undefined : (JSON.parse(keys) as string[]);
}

function read() {
  try {
    const stack = pulumi.allConfig();
    const settings = readSettings({ stack, env: process.env });
    const plain = plainSecrets(stack, encryptedKeys());
    if (plain.length > 0) throw new SettingsError(plain, "docs/operations.md#secrets");
    return { settings, reach: connections(settings, knownHostKey) };
  } catch (error) {
    // Printed without a stack trace: the error is in the configuration.
    throw error instanceof SettingsError ? new pulumi.RunError(error.message) : error;
  }
}

/**
 * Inspects all hosts at once and creates each host's mirror as soon as it has answered. Returns the state of each host. For
 * an invalid configuration, throws a RunError before any host is contacted.
 */
export async function program(): Promise<Record<string, pulumi.Output<MirrorState>>> {
  const { settings, reach: known } = read();
  const reach = await certified(known);
  const { waived, hosts } = settings;
  const stack = `${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`;
  const preview = pulumi.isDryRun();
  const now = new Date();
  const passwords = passwordsOf(hosts);
  const refused = refusedBefore();

  const look = async (host: HostSettings, connection: Connection, files: RenderedFile[]): Promise<Looked> => {
    const by = refused.get(host.name);
    if (by !== undefined) return notAsked(host, by);
    const command = commands.look({ stack, host }, preview ? waived : undefined);
    const password = passwords.get(host.name);
    // A preview runs nothing else.
    const digestsOf = (): string[] =>
      preview
        ? [command].flatMap(({ create, stdin }) => commands.announcement(create, stdin) ?? [])
        : announcements(stack, host, files, waived);
    const looked = await lookAt({ host, connection, command, password, digests: password ? digestsOf() : [] });
    if (looked.refusedBy !== undefined) noteRefusal(host.name, looked.refusedBy);
    return looked;
  };
  const deploy = async (host: HostSettings): Promise<[name: string, state: pulumi.Output<MirrorState>][]> => {
    const connection = reach.get(host.name);
    if (connection === undefined) return [];
    const files = renderFiles(host);
    const looked = await look(host, connection, files);
    // With --target, a host that is not targeted stays registered: nothing runs on it, and being out of reach is only a warning.
    if (!preview && outOfReach(looked) && isMeant(host.name, pulumi.getStack(), pulumi.getProject())) {
      leaveAlone(host, looked);
      return [];
    }
    if (!preview && looked.answered && waived.length > 0) {
      await leaveWaivers(host.name, connection, commands.leaveWaivers({ stack, host }, digest(files), waived));
    }
    return [[host.name, new Mirror(host.name, { host, connection, stack, files, looked, now }).state]];
  };
  return Object.fromEntries((await Promise.all(hosts.map(deploy))).flat());
}
