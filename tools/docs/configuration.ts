import { stringify } from "yaml";
import { z } from "zod";
import { defaults, documented } from "../../infra/config";
import type { Restart } from "../../infra/files";
import { refusedRsyncOptions, supportedRsyncOptions } from "../../infra/rsync-options";
import { parts, topics, type Example } from "./examples";
import { restartOf } from "./restart";

/** As much of JSON Schema as the settings need. */
interface Schema {
  type?: string;
  description?: string;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  default?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
}

const schemaOf = (schema: z.ZodType): Schema =>
  z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Schema;

const code = (text: string): string => `\`${text}\``;

/** A value as in a stack file, in one line. */
const yaml = (value: unknown): string => stringify(value, { collectionStyle: "flow", lineWidth: 0 }).trim();

function bounds(key: string, schema: Schema, example: Pick<Example, "bounds"> | undefined): string {
  if (example?.bounds !== undefined) return example.bounds;
  if (schema.type === "boolean") return "true or false";
  if (schema.enum) return schema.enum.map(code).join(", ");
  if (schema.minimum !== undefined && schema.maximum !== undefined) return `${schema.minimum} to ${schema.maximum}`;
  if (schema.properties) return "see below";
  throw new Error(`tools/docs/examples.ts: the bounds of ${key} are missing`);
}

const shown = (value: unknown): string =>
  Array.isArray(value) ? value.map((item) => code(String(item))).join(" ") : code(yaml(value));

const restarts: Record<Restart, string> = { lsyncd: "lsyncd", monitor: "the monitor's timer", none: "nothing" };

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const table = (head: string[], rows: string[][]): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");

/** The keys of every setting, of the stack and of a host. */
export function settingKeys(): string[] {
  const keys = [schemaOf(documented.stack), schemaOf(documented.host)].flatMap(({ properties }) =>
    Object.keys(properties ?? {}),
  );
  return [...new Set(keys)];
}

function topicTable(settings: Record<string, Example>): string {
  const host = schemaOf(documented.host).properties ?? {};
  const stack = schemaOf(documented.stack).properties ?? {};
  const values: Record<string, unknown> = { ...documented.accessDefaults, ...defaults };
  const rows = Object.entries(settings).map(([key, example]) => {
    const schema = host[key] ?? stack[key] ?? {};
    const fallback = example.fallback ?? (values[key] === undefined ? "required" : shown(values[key]));
    const variable = Object.entries(documented.environment).find(([, setting]) => setting === key)?.[0];
    const where =
      host[key] === undefined ? " Only for the stack." : stack[key] === undefined ? " Only for a host." : "";
    const meaning = `${schema.description ?? "The hosts to deploy to."}${where}${variable ? ` ${code(variable)} overrides it.` : ""}${example.secret ? " **Secret.**" : ""}`;
    const restart =
      host[key] === undefined || ["name", "address"].includes(key) ? "none" : restartOf(key, example.value);
    return [
      code(key),
      meaning,
      fallback,
      bounds(key, schema, example),
      example.secret ? "encrypted" : code(yaml(example.value)),
      restarts[restart],
    ];
  });
  return table(["setting", "meaning", "default", "bounds", "example", "a change restarts"], rows);
}

function partTable(key: string): string {
  const schema = schemaOf(documented.host).properties?.[key];
  const described = parts[key] ?? {};
  const missing = Object.keys(schema?.properties ?? {}).filter((part) => described[part] === undefined);
  if (missing.length > 0)
    throw new Error(`tools/docs/examples.ts: describe ${missing.map((part) => `${key}.${part}`).join(", ")}`);
  const rows = Object.entries(schema?.properties ?? {}).map(([part, one]) => {
    const example = described[part];
    const needed = schema?.required?.includes(part) === true && one.default === undefined;
    const fallback =
      example?.fallback ?? (needed ? "required" : one.default === undefined ? "none" : shown(one.default));
    return [
      code(part),
      `${example?.meaning ?? ""}${example?.secret ? " **Secret.**" : ""}`,
      fallback,
      bounds(`${key}.${part}`, one, example),
    ];
  });
  return table([`${code(key)} has`, "meaning", "default", "bounds"], rows);
}

const variables: Record<string, string> = {
  LSYNCD_SOURCE: "Source of every host; overrides the stack.",
  LSYNCD_TARGET: "Target of every host; overrides the stack.",
  MSMTP_RCPTS: "Recipients of the alerts, separated by commas; overrides the stack.",
  LSYNCD_SKIP_SAFETY:
    "Overrides one refusal of the preflight, for one run: the target holds data. Data that the source does not have is deleted.",
  LSYNCD_EMPTY_SOURCE_ERASES_MIRROR:
    "Overrides one refusal of the preflight, for one run: the source is empty and the mirror is not. The mirror is emptied.",
};

function variableTable(): string {
  const values: Record<string, unknown> = { ...defaults };
  const names = [...Object.keys(documented.environment), ...documented.waiverNames];
  const unknown = names.filter((name) => variables[name] === undefined);
  if (unknown.length > 0) throw new Error(`tools/docs/configuration.ts: describe ${unknown.join(", ")}`);
  const settings: Record<string, string> = documented.environment;
  return table(
    ["variable", "meaning", "setting", "default"],
    names.map((name) => {
      const key = settings[name];
      return [
        code(name),
        variables[name] ?? "",
        key === undefined ? "none" : code(key),
        key === undefined ? code("false") : shown(values[key]),
      ];
    }),
  );
}

/** The text of docs/configuration.md. Throws when a setting has no example. */
export async function configuration(): Promise<string> {
  const described = topics.flatMap(({ settings }) => Object.keys(settings));
  const missing = settingKeys().filter((key) => !described.includes(key));
  if (missing.length > 0) throw new Error(`tools/docs/examples.ts: there is no example for ${missing.join(", ")}`);

  const text = `# Settings

<!-- Written by \`npm run docs\` from infra/config.ts and tools/docs/examples.ts. -->

For operators: all settings of a stack. They are in its file, \`stacks/Pulumi.NAME.yaml\`. Only \`hosts\` is required. The
program refuses an unknown setting or a value out of bounds before it contacts any host; one message lists all faults.

\`\`\`yaml
config:
  lsyncd:delay: 2 # for all hosts
  lsyncd:hosts:
    - name: sqlite-1
      address: 192.0.2.11
    - name: sqlite-2
      address: 192.0.2.12
      delay: 5 # for this one
\`\`\`

An environment variable overrides the host's entry, which overrides the stack, which overrides the default. Store a setting marked
**secret** encrypted only:

\`\`\`sh not run: it would ask for the secret
npx pulumi config set --secret becomePassword --stack sqlite
npx pulumi config set --secret --path 'hosts[0].privateKey' --stack sqlite <~/.ssh/id_ed25519
\`\`\`

The last column shows what a deployment restarts when the setting changes. A restart of lsyncd costs a full pass over the
volume: no change is lost, but the mirror is behind until the pass is done.

${topics
  .map(({ title, settings }) => {
    const objects = Object.keys(settings).filter((key) => key in parts);
    return [`## ${title}`, topicTable(settings), ...objects.map(partTable)].join("\n\n");
  })
  .join("\n\n")}

## Environment variables

They apply to one run and to all hosts of the stack. An empty variable counts as unset. The last two accept only \`true\` and
\`false\`.

${variableTable()}

## Not configurable

rsync's \`--archive\` is always on. Of rsync's other options, the program accepts those that produce an exact mirror, each with its value in
the same text: ${supportedRsyncOptions.map(code).join(", ")}. It refuses all others by name, most of them with
the damage they would do to the mirror, such as ${refusedRsyncOptions
    .filter((name) => ["--dry-run", "--remove-source-files", "--exclude", "--quiet", "--size-only"].includes(name))
    .map(code)
    .join(", ")} (\`infra/rsync-options.ts\`).

No setting makes the mirror synchronous (RAID 1 and DRBD are), keeps versions (ZFS snapshots and Litestream do), or mirrors to another
host. Each host has one pair of volumes: see [alternatives](alternatives.md).
`;
  // Loaded late: only who writes the page needs it.
  const { format } = await import("prettier");
  return format(text, { parser: "markdown", printWidth: 120 });
}
