import { readSettings, type Settings } from "../../../infra/config";
import { entry } from "../../../tools/lint/samples";

export { entry, hostile, hostKey, hostOf } from "../../../tools/lint/samples";

/** Reads settings as Pulumi hands them over: text as it is, everything else as JSON, under `lsyncd:`. */
export function settingsOf(stack: Record<string, unknown>, env: Record<string, string | undefined> = {}): Settings {
  const all: Record<string, unknown> = { hosts: [entry], ...stack };
  const raw = Object.entries(all)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [`lsyncd:${key}`, typeof value === "string" ? value : JSON.stringify(value)]);
  return readSettings({ stack: Object.fromEntries(raw) as Record<string, string>, env });
}

/** The errors for invalid settings, one line each; empty if they are accepted. */
export function faultsOf(stack: Record<string, unknown>, env: Record<string, string | undefined> = {}): string[] {
  try {
    settingsOf(stack, env);
    return [];
  } catch (error) {
    return (error as { faults: string[] }).faults;
  }
}
