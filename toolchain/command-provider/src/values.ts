/** A property value as the engine sends it: JSON, with secrets and unknowns marked by the signatures below. */
export type Value = null | boolean | number | string | Value[] | Properties;
export interface Properties {
  [key: string]: Value;
}

/** The key that marks an object as something else than a plain object (a secret, an asset, an archive, …). */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";

/** Placeholders for a value not known yet during a preview; one sentinel for each type (sdk/go/common/resource/plugin/rpc.go). */
const UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const UNKNOWN = new Set([
  UNKNOWN_STRING,
  "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
  "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
  "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
  "030794c1-ac77-496b-92df-f27374a8bd58",
  "e48ece36-62e2-4504-bad9-02848725956a",
  "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
]);

/** The value of an output known only after the command has run. */
export const unknown: Value = UNKNOWN_STRING;

/** Whether the value is not known yet. */
export function isUnknown(value: Value): boolean {
  return typeof value === "string" && UNKNOWN.has(value);
}

/** Whether the value is an object with keys of its own: no secret, asset or archive. */
export function isPlainObject(value: Value | undefined): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(SIGNATURE in value);
}

/** Whether the value is marked as a secret. */
export function isSecret(value: Value | undefined): value is Properties & { value: Value } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && value[SIGNATURE] === SECRET;
}

/** Marks a value as a secret, once. */
export function secret(value: Value): Value {
  return isSecret(value) ? value : { [SIGNATURE]: SECRET, value };
}

/** The value without the secret marks, at any depth. */
export function reveal(value: Value): Value {
  if (isSecret(value)) return reveal(value.value);
  if (Array.isArray(value)) return value.map(reveal);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, reveal(inner)]));
  }
  return value;
}

/** Deep equality; a null counts as absent. A value that became secret, or stopped being one, has changed. */
export function sameValue(left: Value | undefined, right: Value | undefined): boolean {
  if (left === null || left === undefined || right === null || right === undefined) {
    return (left ?? undefined) === (right ?? undefined);
  }
  if (typeof left !== "object" || typeof right !== "object") return left === right;
  if (Array.isArray(left) || Array.isArray(right)) {
    return (
      Array.isArray(left) &&
      Array.isArray(right) &&
      left.length === right.length &&
      left.every((item, index) => sameValue(item, right[index]))
    );
  }
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) => sameValue(left[key], right[key]));
}
