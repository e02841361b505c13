import { commandInputs, type CommandInputs, type Field, type Fields } from "./schema";
import { isPlainObject, isSecret, isUnknown, type Properties, reveal, secret, type Value } from "./values";

/** The outcome of a check: the inputs completed with defaults and secret marks, and what is wrong with them. */
export interface Checked {
  inputs: Properties;
  /** One sentence each, naming the field and never its value: the engine prints them as they are. */
  failures: string[];
}

/** Checks the inputs of a Command. Unknown values (in a preview) pass. */
export function check(inputs: Properties): Checked {
  const failures: string[] = [];
  return { inputs: checkFields(inputs, commandInputs, "", failures), failures };
}

/** The typed inputs out of properties that may carry secret marks and outputs. Throws when they don't pass the check. */
export function readInputs(properties: Properties): CommandInputs {
  const known = Object.entries(properties).filter(([key]) => key in commandInputs);
  const { inputs, failures } = check(Object.fromEntries(known));
  if (failures.length > 0) throw new Error(failures.join("\n"));
  // The check has just proven the shape.
  return reveal(inputs) as unknown as CommandInputs;
}

function checkFields(object: Properties, fields: Fields, path: string, failures: string[]): Properties {
  const checked: Properties = {};
  for (const [key, value] of Object.entries(object)) {
    // Some SDKs add properties of their own, such as __defaults.
    if (value === null || key.startsWith("__")) continue;
    const field = fields[key];
    if (field === undefined) {
      failures.push(`${path}${key} is not a known input; known are ${Object.keys(fields).sort().join(", ")}`);
    } else {
      checked[key] = checkField(value, field, path + key, failures);
    }
  }
  for (const [key, field] of Object.entries(fields)) {
    if (key in checked) continue;
    if (field.default !== undefined) checked[key] = field.default;
    if (field.required !== undefined) failures.push(`${path}${key} is missing: ${field.required}`);
  }
  return checked;
}

function checkField(value: Value, field: Field, path: string, failures: string[]): Value {
  if (isSecret(value)) return secret(checkField(value.value, field, path, failures));
  const checked = isUnknown(value) ? value : checkKnown(value, field, path, failures);
  return field.secret ? secret(checked) : checked;
}

function checkKnown(value: Value, field: Field, path: string, failures: string[]): Value {
  if (field.fields !== undefined && isPlainObject(value)) return checkFields(value, field.fields, `${path}.`, failures);
  if (!hasType(value, field.type)) {
    failures.push(`${path} must be ${article(field.type)}`);
  } else if (field.oneOf !== undefined && !field.oneOf.some((option) => option === value)) {
    failures.push(`${path} must be one of ${field.oneOf.join(", ")}`);
  }
  return value;
}

function hasType(value: Value, type: Field["type"]): boolean {
  switch (type) {
    case "list":
      return Array.isArray(value);
    case "map":
      return isPlainObject(value) && Object.values(value).every((item) => typeof reveal(item) === "string");
    case "object":
      return isPlainObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function article(type: Field["type"]): string {
  if (type === "map") return "a map of strings";
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}
