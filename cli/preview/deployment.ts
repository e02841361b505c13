import { partsOf, type Parts } from "../../infra/commands/bundle";
import type { Restart } from "../../infra/files";
import { made, secret, text, unmade, type Step } from "./events";
import { compareLines } from "./lines";
import type { Change } from "./report";

/** A managed file in the catalogue of a deployment. */
interface Listed {
  mode: string;
  restart: Restart;
  /** Its text is not among the parts, because it contains a secret. */
  hidden: boolean;
}

const listed = /^(?:CATALOGUE=')?([0-7]{4}) (lsyncd|monitor|none) (sent|kept) (\/[^']*)'?$/;

/** The managed files of a deployment, by their paths. */
function catalogueOf(parts: Parts): Map<string, Listed> {
  const lines = (parts.catalogue ?? "").split("\n").flatMap((line) => {
    const [, mode = "", restart = "", from, path] = listed.exec(line) ?? [];
    return path === undefined ? [] : [[path, { mode, restart: restart as Restart, hidden: from === "kept" }] as const];
  });
  return new Map(lines);
}

const note = "not shown, it contains a secret";

const restarting = ({ restart }: Listed): Pick<Change, "restart"> => (restart === "none" ? {} : { restart });

/** The lines of a part; empty if there is no deployment yet. */
const linesOf = (parts: Parts, path: string): string => parts[path] ?? "";

function fileChange(path: string, before: Parts, after: Parts, old: Listed | undefined, now: Listed): Change[] {
  const how = old ? "changed" : "added";
  if (now.hidden || old?.hidden === true) {
    // If the file was hidden and still is, its text does not show whether it has changed.
    return now.hidden && old?.hidden === true ? [] : [{ what: path, how, note, ...restarting(now) }];
  }
  if (linesOf(before, path) !== linesOf(after, path) || !old) {
    const lines = compareLines(linesOf(before, path), linesOf(after, path));
    return [{ what: path, how, lines, ...restarting(now) }];
  }
  return old.mode === now.mode ? [] : [{ what: path, how, note: "mode only", ...restarting(now) }];
}

// Lines at the top of a script that name its host: left out if unchanged, so that equal changes on several hosts compare as equal.
const naming = /^(HOST|ADDRESS|PLACE|ID|STAGED)=/;

/** The change of a step's script; undefined if only the digest of the deployment differs. */
export function scriptChange(step: string, before: string, after: string): Change | undefined {
  const [was, is] = [before, after].map((script) => script.replace(/^DEPLOYMENT=.*\n/m, ""));
  if (was === is) return undefined;
  const kept = new Set(
    after.split("\n").filter((line) => naming.test(line) && `\n${before}\n`.includes(`\n${line}\n`)),
  );
  const strip = (script: string): string =>
    script
      .split("\n")
      .filter((line) => !kept.has(line))
      .join("\n");
  return {
    what: `the script of the step ${step}`,
    how: "changed",
    lines: compareLines(strip(was ?? ""), strip(is ?? "")),
  };
}

// Of the files with secrets (infra/commands/index.ts).
const mark = /^SECRETS=.*\n/m;
const markOf = ({ settings = "" }: Parts): string | undefined => mark.exec(settings)?.[0];

const scripts = ({ login = "", settings = "", program = "" }: Parts): string =>
  login + settings.replace(mark, "") + program;

/** The changes of an activation on a host: its files, and the script that activates them. */
export function deploymentChanges(step: Step): Change[] {
  if (unmade.includes(step.op)) return [];
  const old = text(step.old, "stdin");
  const now = text(step.new, "stdin");
  if (old === secret || now === secret)
    return step.differing.some((name) => /^stdin\b/.test(name)) || old !== now
      ? [{ what: "the deployment", how: "changed", note }]
      : [];
  const after = partsOf(now) ?? {};
  const isNew = made.includes(step.op) && step.old === undefined;
  const before = isNew ? {} : partsOf(old);
  if (before === undefined) {
    if (old === now) return [];
    return [{ what: "everything", how: "changed", note: "an earlier version deployed it in another format" }];
  }
  const [had, has] = [catalogueOf(before), catalogueOf(after)];
  const changes = [...has].flatMap(([path, file]) => fileChange(path, before, after, had.get(path), file));
  const removed = [...had.keys()].filter((path) => !has.has(path));
  changes.push(...removed.map((path): Change => ({ what: path, how: "removed" })));
  const hidden = [...has].filter(([path, { hidden }]) => hidden && had.get(path)?.hidden === true);
  if (hidden.length > 0 && markOf(before) !== markOf(after))
    changes.push({ what: hidden.map(([path]) => path).join(" or "), how: "changed", note });
  const script = isNew ? undefined : scriptChange(step.part, scripts(before), scripts(after));
  return script ? [...changes, script] : changes;
}
