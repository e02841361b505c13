import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { HostSettings } from "../../../infra/config";
import type { RenderedFile } from "../../../infra/files";
import { paths } from "../../../infra/paths";
import { sourceOf } from "../../../infra/render";

export { languageOf, type Language } from "../../../tools/lint/language";

/** The folder of the templates. */
export const templates = join(__dirname, "../../../templates");

/** The text of the template of a managed file. */
export function templateOf(path: string): string {
  return readFileSync(sourceOf(path).file, "utf8");
}

/** A line of a template that writes values, and that line as it was rendered. */
export interface Written {
  /** The text before the first value, such as `SOURCE=`. */
  before: string;
  /** The values as written, and the text between them. */
  text: string;
  /** The expected values: those of the names in the line, lists flattened. */
  values: string[];
}

/** Every line of a template that writes values with a helper, found again in the rendered file. */
export function written(file: RenderedFile, host: HostSettings, helper: string): Written[] {
  const lines = file.content.split("\n");
  return templateOf(file.path)
    .split("\n")
    .filter((line) => line.includes(`{{${helper} `))
    .flatMap((line) => {
      const [, before = "", middle = "", after = ""] = /^(.*?)(\{\{.*\}\})(.*)$/.exec(line) ?? [];
      const found = lines.filter((one) => one.startsWith(before) && one.endsWith(after));
      // Left out by an {{#if}}
      if (found.length === 0) return [];
      if (found.length > 1) throw new Error(`${file.path}: "${before}" begins ${found.length} lines`);
      const text = found[0]?.slice(before.length, found[0].length - after.length) ?? "";
      const names = [...middle.matchAll(/\{\{\w+ ([\w.]+)\}\}/g)].map(([, name = ""]) => name);
      const values = names.map((name) => valueOf(host, name));
      // Derived from other settings, so no expected value is known here.
      if (values.includes(undefined)) return [];
      return [{ before, text, values: values.flatMap((value) => value ?? []) }];
    });
}

function valueOf(host: HostSettings, name: string): string[] | undefined {
  let value: unknown = { heartbeatUrl: "", ...paths, ...host };
  for (const part of name.split(".")) value = (value as Record<string, unknown> | undefined)?.[part];
  return value === undefined ? undefined : [value].flat().map(String);
}
