import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { readExpectedPass } from "../../infra/drift";
import { visible } from "../../infra/text";

/** What the engine would do to one resource. Inputs that are secret are the symbol `secret`, never their value. */
export interface Step {
  /** `same`, `create`, `update`, `delete`, … (the engine's names). */
  op: string;
  urn: string;
  type: string;
  /** The name of the mirror it belongs to, or of the mirror itself. Not there for the stack and the provider. */
  host?: string;
  /** Its name without the host's: `preflight`, `file-config`, …; empty for the mirror. */
  part: string;
  old?: Inputs;
  new?: Inputs;
  /** The inputs that differ, as the engine sees it: also those that are secret. */
  differing: string[];
}

/** The inputs of a resource. */
export type Inputs = Record<string, unknown>;

/** Stands in for a secret. */
export const secret = Symbol("secret");

/** An input as a text: empty where there is none. */
export const text = (inputs: Inputs | undefined, key: string): string | typeof secret => {
  const value = inputs?.[key];
  if (value === secret) return secret;
  return typeof value === "string" ? value : "";
};

/** What the engine calls it when a resource is made, or goes. */
export const made = ["create", "create-replacement", "replace"];
export const unmade = ["delete", "delete-replaced"];

/** Something that was said: by the program, a resource or the engine. */
export interface Message {
  severity: "error" | "warning";
  text: string;
}

/** What one run of the engine had to say. */
export interface Preview {
  /** The stack's name, if the engine got as far as a resource. */
  stack?: string;
  steps: Step[];
  messages: Message[];
  /** Seconds that a full pass is expected to take, by host. */
  passes: Map<string, number>;
  /** Whether it came to an end without an error; undefined when it did not come to an end. */
  succeeded?: boolean;
}

// How the engine marks a secret in its events (sdk/go/common/resource/sig). Its value is blinded by the engine as well.
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

/** Reads the events of a run, one JSON object a line, as `pulumi --event-log` writes them. */
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
    // Most of the log is for those who debug the engine.
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
      // In a terminal the engine writes its marks for colours into the log as well: <{%reset%}>.
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

/** Reads the events in a file. An engine that could not begin leaves none. */
export async function readEventLog(path: string): Promise<Preview> {
  try {
    return await readEvents(createInterface({ input: createReadStream(path), crlfDelay: Infinity }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { steps: [], messages: [], passes: new Map() };
    throw error;
  }
}
