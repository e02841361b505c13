import { isPlainObject, type Properties, sameValue, type Value } from "./values";

/** The change of one property. */
export type Change = "add" | "delete" | "update";

/** The differences between the inputs of the last deployment and the new ones. */
export interface Difference {
  /** Each changed property by its path, such as `environment.LANG` or `triggers[0]`. */
  changes: Map<string, Change>;
  /** The changed properties at the top level. */
  properties: string[];
  /** The changed properties that make the engine replace the resource: `triggers`, or none. */
  replaces: string[];
}

/**
 * Compares old and new inputs. A change under `triggers` replaces the resource, every other one updates it;
 * that holds whether or not there is an `update` command.
 */
export function diff(old: Properties, news: Properties): Difference {
  const changes = new Map<string, Change>();
  const properties = keysOf(old, news).filter((key) => !sameValue(old[key], news[key]));
  for (const key of properties) compare(key, old[key], news[key], changes);
  return { changes, properties, replaces: properties.filter((key) => key === "triggers") };
}

function compare(path: string, old: Value | undefined, news: Value | undefined, changes: Map<string, Change>): void {
  if (sameValue(old, news)) return;
  if (old === undefined || old === null) {
    changes.set(path, "add");
  } else if (news === undefined || news === null) {
    changes.set(path, "delete");
  } else if (Array.isArray(old) && Array.isArray(news)) {
    const length = Math.max(old.length, news.length);
    for (let index = 0; index < length; index++) compare(`${path}[${index}]`, old[index], news[index], changes);
  } else if (isPlainObject(old) && isPlainObject(news)) {
    for (const key of keysOf(old, news)) compare(path + segment(key), old[key], news[key], changes);
  } else {
    changes.set(path, "update");
  }
}

function keysOf(left: Properties, right: Properties): string[] {
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
}

/** A key in the engine's path syntax. */
function segment(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `["${key.replaceAll('"', '\\"')}"]`;
}
