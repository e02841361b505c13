import { z } from "zod";

const entries = z.record(z.string(), z.object({ value: z.string() }));

/**
 * Converts the output of `pulumi config --show-secrets --json` into the form that the program receives: a text for each key,
 * JSON for lists and objects. Throws if the output has another form. The result contains secrets: do not print it.
 */
export function stackConfiguration(json: string): Record<string, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    // The text is not shown: it may contain a key.
    throw new Error("pulumi did not print the stack's configuration as JSON");
  }
  const result = entries.safeParse(parsed);
  if (!result.success) throw new Error("pulumi printed the stack's configuration in an unknown format");
  return Object.fromEntries(Object.entries(result.data).map(([key, { value }]) => [key, value]));
}
