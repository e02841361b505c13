import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import Handlebars from "handlebars";
import * as quote from "./quote";

/** The values that a template can use: the settings of one host, and the managed paths. */
export type Context = Record<string, unknown>;

const templates = resolve(__dirname, "..", "templates");

const scalar = (value: unknown): quote.Value => {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value;
  throw new Error(`a template can write text, numbers and booleans, not ${JSON.stringify(value)}`);
};

const list =
  (one: (value: quote.Value) => string, separator: string) =>
  (value: unknown): string =>
    Array.isArray(value) ? value.map((item) => one(scalar(item))).join(separator) : one(scalar(value));

/** The quoting helpers, by the name that templates use. A list is written as that language lists words. */
const helpers: Record<string, (value: unknown) => string> = {
  lua: list(quote.lua, ", "),
  sh: list(quote.sh, " "),
  systemdWord: list(quote.systemdWord, " "),
  systemdArg: list(quote.systemdArg, " "),
  mountUnit: list((value) => quote.mountUnit(String(value)), " "),
  comment: list(quote.comment, ", "),
  msmtp: list(quote.msmtp, " "),
  conf: (value) => quote.conf(scalar(value)),
};

const handlebars = Handlebars.create();
for (const [name, helper] of Object.entries(helpers)) handlebars.registerHelper(name, helper);

/**
 * Reads a template's syntax tree: refuses `{{value}}` and `{{{value}}}`, because what is written must come from a
 * quoting helper, and notes the names it reads, because Handlebars' strict mode lets a missing `{{#if name}}` pass.
 */
class Reader extends Handlebars.Visitor {
  readonly names = new Set<string>();
  private depth = 0;

  constructor(private readonly name: string) {
    super();
  }
  override BlockStatement(block: hbs.AST.BlockStatement): void {
    block.params.forEach((param) => {
      this.accept(param);
    });
    // Inside {{#each}} names belong to the item.
    const each = block.path.original === "each";
    this.depth += each ? 1 : 0;
    this.accept(block.program);
    this.depth -= each ? 1 : 0;
    // Handlebars' types say it is always there; it is not without an {{else}}.
    if (block.inverse as hbs.AST.Program | undefined) this.accept(block.inverse);
  }
  override PathExpression(path: hbs.AST.PathExpression): void {
    const [first] = path.parts;
    if (this.depth === 0 && first !== undefined && !path.data && !(path.original in helpers)) this.names.add(first);
  }
  override MustacheStatement(mustache: hbs.AST.MustacheStatement): void {
    const path = mustache.path as hbs.AST.PathExpression;
    if (!(path.original in helpers) || mustache.params.length !== 1) {
      throw new Error(
        `templates/${this.name}:${mustache.loc.start.line}: {{${path.original}}} is not quoted, use one of ${Object.keys(helpers).join(", ")}`,
      );
    }
    super.MustacheStatement(mustache);
  }
}

interface Template {
  names: Set<string>;
  write: HandlebarsTemplateDelegate<Context>;
}

const compiled = new Map<string, Template>();

function compile(name: string): Template {
  const ast = handlebars.parse(readFileSync(resolve(templates, name), "utf8"));
  const reader = new Reader(name);
  reader.accept(ast);
  const known = Object.fromEntries(Object.keys(helpers).map((helper) => [helper, true]));
  const options = { strict: true, noEscape: true, knownHelpers: known, knownHelpersOnly: true };
  return { names: reader.names, write: handlebars.compile<Context>(ast, options) };
}

/** The source of a managed file: the template that is rendered, or else the file that is copied byte for byte. */
export function sourceOf(path: string): { file: string; rendered: boolean } {
  const file = resolve(templates, path.slice(1));
  return existsSync(`${file}.hbs`) ? { file: `${file}.hbs`, rendered: true } : { file, rendered: false };
}

/** The text of a managed file with the values of one host. */
export function contentOf(path: string, context: Context): string {
  const { file, rendered } = sourceOf(path);
  return rendered ? render(`${path.slice(1)}.hbs`, context) : readFileSync(file, "utf8");
}

/**
 * Renders a template of the folder templates/. Strict: a value that is missing is an error, and so is one that is
 * written without a quoting helper.
 */
export function render(name: string, context: Context): string {
  const template = compiled.get(name) ?? compile(name);
  compiled.set(name, template);
  const missing = [...template.names].filter((value) => context[value] === undefined);
  if (missing.length > 0) throw new Error(`templates/${name}: no value for ${missing.join(", ")}`);
  return template.write(context);
}
