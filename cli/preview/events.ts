import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { readExpectedPass } from "../../infra/drift";
import { visible } from "../../infra/text";

/** The engine's planned step for one resource. Secret inputs are the symbol `secret`, never their value. */
export interface Step {
  /** `same`, `create`, `update`, `delete`, … (the engine's names). */
  op: string;
  urn: string;
  type: string;
  /** The name of its mirror, or of the mirror itself. Absent for the stack and the provider. */
  host?: string;
  /** Its name without the host's: `preflight`, `file-config`, …; empty for the mirror. */
  part: string;
  old?: Inputs;
  new?: Inputs;
  /** The inputs that differ according to the engine, including secret ones. */
  differing: string[];
}

/** The inputs of a resource. */
export type Inputs = Record<string, unknown>;

/** Stands in for a secret. */
export const secret = Symbol("secret");

/** An input as text; empty if there is none. */
export const text = (inputs: Inputs | undefined, key: string): string | typeof secret => {
  const value = inputs?.[key];
  if (value === secret) return secret;
  return typeof value === "string" ? value : "";
};

/** The engine's names for operations that create or delete a resource. */
export const made = ["create", "create-replacement", "replace"];
export const unmade = ["delete", "delete-replaced"];

/** A message of the program, a resource or the engine. */
export interface Message {
  severity: "error" | "warning";
  text: string;
}

/** The result of one run of the engine. */
export interface Preview {
  /** The stack's name; absent if the engine stopped before the first resource. */
  stack?: string;
  steps: Step[];
  messages: Message[];
  /** The expected duration of a full pass in seconds, by host. */
  passes: Map<string, number>;
  /** Whether it finished without an error; undefined if it did not finish. */
  succeeded?: boolean;
}

// The engine's mark for a secret in its events (sdk/go/common/resource/sig). The engine also hides the value.
const signature = "4dabf18193072939515e22adb298388d";

const mirrorType = "lsyncd:index:Mirror";

interface RawState {
  parent?: string;
  inputs?: Record<string, unknown>;
}
interface RawStep {
  op: string;
  urn: string;
  type: string;
  old: RawState | null;
  new: RawState | null;
  diffs?: string[] | null;
  detailedDiff?: Record<string, unknown> | null;
}
interface RawEvent {
  resourcePreEvent?: { metadata: RawStep };
  diagnosticEvent?: { message: string; severity: string };
  summaryEvent?: { result?: string };
}

function unwrap(inputs: Record<string, unknown> | undefined): Inputs | undefined {
  if (inputs === undefined) return undefined;
  const hide = (value: unknown): unknown =>
    (typeof value === "object" && value !== null && signature in value) || value === "[secret]" ? secret : value;
  return Object.fromEntries(Object.entries(inputs).map(([key, value]) => [key, hide(value)]));
}

const nameOf = (urn: string): string => urn.slice(urn.lastIndexOf("::") + 2);

/** Parses the events that `pulumi --event-log` writes, one JSON object per line. */
export async function readEvents(lines: AsyncIterable<string> | Iterable<string>): Promise<Preview> {
  const preview: Preview = { steps: [], messages: [], passes: new Map() };
  const parents = new Map<string, string>();

  const mirrorOf = (urn: string): string | undefined => {
    for (let at: string | undefined = urn; at !== undefined && at !== ""; at = parents.get(at)) {
      const types = at.split("::")[2] ?? "";
      if (types === mirrorType || types.endsWith(`$${mirrorType}`)) return nameOf(at);
    }
    return undefined;
  };

  for await (const line of lines) {
    // Most of the log is only useful for debugging the engine.
    const quiet = line.includes('"severity":"debug"') || line.includes('"severity":"info');
    if (line === "" || (quiet && !line.includes("A full pass on "))) continue;
    const event = JSON.parse(line) as RawEvent;
    if (event.resourcePreEvent) {
      const { op, urn, type, diffs, detailedDiff, ...states } = event.resourcePreEvent.metadata;
      preview.stack ??= urn.split("::")[0]?.split(":")[2] ?? "";
      parents.set(urn, (states.new ?? states.old)?.parent ?? "");
      const host = mirrorOf(urn);
      const before = unwrap(states.old?.inputs);
      const after = unwrap(states.new?.inputs);
      const name = nameOf(urn);
      preview.steps.push({
        ...{ op, urn, type },
        ...(host === undefined ? {} : { host }),
        part: host === undefined ? name : name.slice(host.length + 1),
        ...(before === undefined ? {} : { old: before }),
        ...(after === undefined ? {} : { new: after }),
        differing: [...new Set([...(diffs ?? []), ...Object.keys(detailedDiff ?? {})])],
      });
    } else if (event.diagnosticEvent) {
      const { severity, message } = event.diagnosticEvent;
      // In a terminal, the engine also writes its colour marks into the log: <{%reset%}>.
      const text = visible(message.replaceAll(/<\{%[^%]*%\}>/g, "")).trim();
      const pass = readExpectedPass(text);
      if (pass) preview.passes.set(pass.host, pass.seconds);
      if ((severity === "error" || severity === "warning") && text !== "") preview.messages.push({ severity, text });
    } else if (event.summaryEvent) {
      preview.succeeded = event.summaryEvent.result !== "failed";
    }
  }
  return preview;
}

/** Parses an event log. An engine that failed to start writes none. */
export async function readEventLog(path: string): Promise<Preview> {
  try {
    return await readEvents(createInterface({ input: createReadStream(path), crlfDelay: Infinity }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { steps: [], messages: [], passes: new Map() };
    throw error;
  }
}
