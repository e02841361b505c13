import { randomBytes } from "node:crypto";
import { readInputs } from "./check";
import type { Log } from "./engine-log";
import type { CommandInputs } from "./schema";
import { dial } from "./ssh/dial";
import type { Variable } from "./ssh/environment";
import { execute, type Outcome } from "./ssh/execute";
import { type Properties, reveal, unknown } from "./values";

/** The context of every operation on a resource. */
export interface Context {
  urn: string;
  /** Aborts with the reason when the engine cancels or the operation's time is over. */
  signal: AbortSignal;
  log: Log;
}

/** Outputs before anything has run: unknown in a preview. */
const UNKNOWN_OUTPUTS: Properties = { stdout: unknown, stderr: unknown };

/** Runs `create`, if there is one. Resolves with the new resource's id and state; rejects when the command fails. */
export async function create(
  inputs: Properties,
  preview: boolean,
  context: Context,
): Promise<{ id: string; state: Properties }> {
  // name plus eight random digits, as the official plugin names them.
  const id = (context.urn.split("::").at(-1) ?? "") + randomBytes(4).toString("hex");
  if (preview) return { id, state: { ...inputs, ...UNKNOWN_OUTPUTS } };
  const outputs = await runOne("create", inputs, {}, context);
  return { id, state: { ...inputs, stdout: "", stderr: "", ...outputs } };
}

/** Runs `update`, or `create` when there is none. Resolves with the new state; rejects when the command fails. */
export async function update(
  old: Properties,
  inputs: Properties,
  preview: boolean,
  context: Context,
): Promise<Properties> {
  if (preview) return { ...inputs, ...UNKNOWN_OUTPUTS };
  const command = typeof reveal(inputs.update ?? null) === "string" ? "update" : "create";
  const outputs = await runOne(command, inputs, old, context);
  return { ...inputs, stdout: old.stdout ?? "", stderr: old.stderr ?? "", ...outputs };
}

/** Runs `delete`, if there is one, with the settings of the last deployment. */
export async function remove(state: Properties, context: Context): Promise<void> {
  await runOne("delete", state, state, context);
}

async function runOne(
  which: "create" | "update" | "delete",
  properties: Properties,
  previous: Properties,
  context: Context,
): Promise<Properties | undefined> {
  const inputs = readInputs(properties);
  const command = inputs[which];
  if (command === undefined) return undefined;
  try {
    const { stdout, stderr } = await runOnHost(command, inputs, previous, context);
    return { stdout: stdout.replace(/\n$/, ""), stderr: stderr.replace(/\n$/, "") };
  } finally {
    await context.log.flush();
  }
}

/** Neither command nor output is searched for secrets, as by the official plugin: who writes a command keeps them out of both. */
async function runOnHost(
  command: string,
  inputs: CommandInputs,
  previous: Properties,
  { urn, signal, log }: Context,
): Promise<Outcome> {
  const logging = inputs.logging ?? "stdoutAndStderr";
  const lines = { stdout: new Lines(), stderr: new Lines() };
  const show = (line: string): void => {
    log.status(urn, line);
  };
  let output = "";

  const client = await dial(inputs.connection, { signal, onRetry: show });
  const outcome = await execute(
    client,
    { command, stdin: inputs.stdin ?? "", variables: variablesOf(inputs, previous) },
    {
      onOutput: (stream, text) => {
        output += text;
        if (logging === stream || logging === "stdoutAndStderr") lines[stream].add(text).forEach(show);
      },
      onRefused: ({ name, optional }) => {
        if (optional) log.warn(urn, refusal(name));
      },
    },
    signal,
  );
  for (const rest of [lines.stdout.rest, lines.stderr.rest]) if (rest !== "") show(rest);

  if (outcome.failure === undefined) return outcome;
  const why = signal.aborted ? `${(signal.reason as Error).message}; ${outcome.failure}` : outcome.failure;
  throw new Error(`${why}: running ${JSON.stringify(command)}:\n${output}`);
}

function variablesOf(inputs: CommandInputs, previous: Properties): Variable[] {
  const variables = Object.entries(inputs.environment ?? {}).map(([name, value]) => ({ name, value, optional: false }));
  if (inputs.addPreviousOutputInEnv === false) return variables;
  for (const stream of ["stdout", "stderr"] as const) {
    const value = reveal(previous[stream] ?? "");
    if (typeof value === "string" && value !== "") {
      variables.push({ name: `PULUMI_COMMAND_${stream.toUpperCase()}`, value, optional: true });
    }
  }
  return variables;
}

function refusal(name: string): string {
  return (
    `The host does not accept the variable ${name}. Add it to AcceptEnv in its sshd_config, ` +
    "or set addPreviousOutputInEnv to false if the command does not need it."
  );
}

/** Cuts a stream of text into lines. */
class Lines {
  /** The text after the last line break so far. */
  rest = "";

  add(text: string): string[] {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    return lines;
  }
}
