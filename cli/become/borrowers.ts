import { z } from "zod";
import * as commands from "../../infra/commands";
import type { HostSettings, Settings } from "../../infra/config";
import type { Connection } from "../../infra/connection";
import { digest, renderFiles } from "../../infra/files";

/** A host whose user asks sudo for root's rights, and the commands that may be run with them. */
export interface Borrower {
  name: string;
  connection: Connection;
  digests: string[];
}

const endpoint = {
  host: z.string(),
  port: z.number(),
  user: z.string(),
  hostKey: z.string(),
  privateKey: z.string().optional(),
  privateKeyPassword: z.string().optional(),
  password: z.string().optional(),
};
const connection = z.object({ ...endpoint, proxy: z.object(endpoint).optional() });
const resource = z.object({
  urn: z.string(),
  inputs: z
    .object({
      connection,
      create: z.string(),
      update: z.string().optional(),
      delete: z.string().optional(),
      stdin: z.string(),
    })
    .partial(),
});
const state = z.object({ deployment: z.object({ resources: z.array(z.unknown()).optional() }).nullable() });

/** Replaces the secrets of an export by their values. */
function reveal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reveal);
  if (typeof value !== "object" || value === null) return value;
  if ("plaintext" in value && typeof value.plaintext === "string") return reveal(JSON.parse(value.plaintext));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, reveal(inner)]));
}

type Deployed = z.output<typeof resource>;

function deployedResources(exported: unknown): Deployed[] {
  const { deployment } = state.parse(exported);
  return (deployment?.resources ?? []).flatMap((one) => {
    const parsed = resource.safeParse(reveal(one));
    return parsed.success && parsed.data.inputs.connection ? [parsed.data] : [];
  });
}

const place = ({ host, port, user }: Connection): string => `${user}@${host}:${String(port)}`;

/** Whether a host's commands wait for somebody to lend them root's rights. */
const waits = ({ user, becomePassword }: HostSettings): boolean => user !== "root" && becomePassword === undefined;

// What a run does on a host with these settings.
function announcements(host: HostSettings, stack: string, settings: Settings): (string | undefined)[] {
  const identity = { stack, host };
  const files = renderFiles(host);
  const deployment = digest(files);
  const steps = [
    commands.preflight(identity, files),
    commands.installPackages(identity),
    commands.activate(identity, files),
  ];
  return [
    ...steps.flatMap(({ create, delete: remove, stdin }) =>
      [create, ...(remove === undefined ? [] : [remove])].map((command) => commands.announcement(command, stdin)),
    ),
    ...[
      commands.leaveWaivers(identity, deployment, settings.waived),
      commands.look(identity, settings.waived),
      commands.look(identity),
    ].map(({ create, stdin }) => commands.announcement(create, stdin)),
  ];
}

/**
 * The hosts that ask for a password: those of the settings, and those that a run may have to undeploy, which the state
 * knows. `stack` is the stack as organization/project/name, `exported` what `pulumi stack export --show-secrets` gives.
 */
export function borrowers(
  settings: Settings,
  reach: Map<string, Connection>,
  stack: string,
  exported: unknown,
): Borrower[] {
  const found = new Map<string, Borrower>();
  const add = (name: string, to: Connection, digests: (string | undefined)[]): void => {
    const known = found.get(place(to)) ?? { name, connection: to, digests: [] };
    found.set(place(to), {
      ...known,
      digests: [...new Set([...known.digests, ...digests.filter((one) => one !== undefined)])],
    });
  };
  const deployed = deployedResources(exported);
  for (const host of settings.hosts.filter(waits)) {
    const to = reach.get(host.name);
    if (to === undefined) continue;
    add(host.name, to, announcements(host, stack, settings));
  }
  for (const { urn, inputs } of deployed) {
    const { connection: to, stdin = "", create, update, delete: remove } = inputs;
    // A password of its own is in its input.
    if (to === undefined || commands.hasPassword(stdin)) continue;
    const digests = [create, update, remove].flatMap((one) =>
      one === undefined ? [] : [commands.announcement(one, stdin)],
    );
    if (digests.some((digest) => digest !== undefined))
      add(urn.split("::").at(-1) ?? to.host, to as Connection, digests);
  }
  return [...found.values()];
}
