import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { libDirectory } from "../paths";
import { sh, type Value } from "../quote";

const onHost = resolve(__dirname, "../../templates", libDirectory.slice(1));

/** The text of a shell file of this folder, or of a library that is on each host as well. */
export function fragment(file: string): string {
  const own = resolve(__dirname, file);
  return readFileSync(existsSync(own) ? own : resolve(onHost, file), "utf8");
}

/**
 * A script for a host: the values as shell variables, `more` lines, then the files one after the other. It is sent
 * on standard input, so that an error of the command shows one line and not the whole text.
 */
export function script(variables: Record<string, Value>, files: string[], more: string[] = []): string {
  const values = Object.entries(variables).map(([name, value]) => `${name}=${sh(value)}`);
  return [
    "# shellcheck shell=bash",
    ...values,
    "",
    ...(more.length > 0 ? [...more, ""] : []),
    ...files.map(fragment),
  ].join("\n");
}

/** The lines that make an associative array of Bash. */
export function assignments(name: string, values: Map<string, string>): string[] {
  return [`declare -A ${name}=()`, ...[...values].map(([key, value]) => `${name}[${sh(key)}]=${sh(value)}`)];
}

/**
 * The command that runs a script it gets on standard input, with arguments, as the login user. The script is read to
 * its end before it starts, so that nothing it runs can eat the rest of it.
 */
export function run(name: string, ...args: string[]): string {
  return ["bash", "-c", sh('eval "$(cat)"'), sh(name), ...args.map(sh)].join(" ");
}

/** The call of a command that runs although no setting has changed, if there is a reason: a word, see ../drift.ts. */
export function becauseOf(create: string, reason: string | undefined): string {
  return reason === undefined ? create : `${create} run ${sh(reason)}`;
}

/** Such a call without its reason. */
export function withoutReason(create: string): string {
  return create.replace(/ run [0-9TZ]+$/, "");
}
