import { z } from "zod";
import * as commands from "../../infra/commands";
import type { Settings } from "../../infra/config";
import type { Connection } from "../../infra/connection";
import { renderFiles } from "../../infra/files";
import { announcements, borrows, type Wanted } from "../../infra/lending";

/** A host whose user gets root's rights through sudo, and the commands that may run with them. */
export interface Borrower extends Wanted {
  password: string;
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

/** Replaces the secrets in an export with their values. */
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

/**
 * The hosts that need root's rights: those in the settings, and those in the state, which a run may have to undeploy.
 * `stack` is organization/project/name, `exported` is the output of `pulumi stack export --show-secrets`, and `asked` is
 * the password that was entered. A host without a known password is left out.
 */
export function borrowers(
  settings: Settings,
  reach: Map<string, Connection>,
  stack: string,
  exported: unknown,
  asked?: string,
): Borrower[] {
  const found = new Map<string, Borrower>();
  const add = (name: string, to: Connection, digests: string[], password = asked): void => {
    const known = found.get(place(to));
    if (known === undefined && password === undefined) return;
    const all = [...new Set([...(known?.digests ?? []), ...digests])];
    found.set(place(to), {
      password: "",
      name,
      connection: to,
      ...(password === undefined ? {} : { password }),
      ...known,
      digests: all,
    });
  };
  for (const host of settings.hosts.filter(borrows)) {
    const to = reach.get(host.name);
    if (to !== undefined)
      add(host.name, to, announcements(stack, host, renderFiles(host), settings.waived), host.becomePassword);
  }
  for (const { urn, inputs } of deployedResources(exported)) {
    const { connection: to, stdin = "", create, update, delete: remove } = inputs;
    const digests = [create, update, remove].flatMap((one) =>
      one === undefined ? [] : (commands.announcement(one, stdin) ?? []),
    );
    if (to !== undefined && digests.length > 0) add(urn.split("::").at(-1) ?? to.host, to as Connection, digests);
  }
  return [...found.values()];
}
