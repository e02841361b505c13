/**
 * Quoting at the border: one function for each language a value can enter. A template or command that needs a
 * value calls one of these (through render.ts or a builder in commands/) and never writes the value itself.
 */

/** A value that can be written into a file or a command. */
export type Value = string | number | boolean;

function refuseControl(value: string, language: string): void {
  if (/[\x00-\x1f\x7f]/.test(value)) {
    throw new Error(`a control character cannot be written into ${language}: ${JSON.stringify(value)}`);
  }
}

/** A Lua literal. Strings are double-quoted, control characters as decimal escapes (Lua manual, 3.1). */
export function lua(value: Value): string {
  if (typeof value !== "string") return String(value);
  const escaped = value
    .replace(/[\\"]/g, "\\$&")
    .replace(/[\x00-\x1f\x7f]/g, (character) => `\\${String(character.charCodeAt(0)).padStart(3, "0")}`);
  return `"${escaped}"`;
}

/** One word for a POSIX shell. Throws on NUL, which no shell word can hold. */
export function sh(value: Value): string {
  const text = String(value);
  if (text.includes("\0")) throw new Error("a NUL character cannot be written into a shell command");
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** One quoted word in a unit file setting that is not a command line: specifiers (%) are doubled (systemd.syntax). */
export function systemdWord(value: Value): string {
  const text = String(value);
  refuseControl(text, "a unit file");
  return `"${text.replace(/[\\"]/g, "\\$&").replaceAll("%", "%%")}"`;
}

/** One argument in an ExecStart= line, where a dollar sign is special as well (systemd.service, "Command lines"). */
export function systemdArg(value: Value): string {
  return systemdWord(value).replaceAll("$", "$$$$");
}

/**
 * The name of the mount unit of an absolute path, as `systemd-escape --path --suffix=mount` gives it
 * (systemd.unit, "String escaping for inclusion in unit names"), with % doubled for use in a unit file.
 */
export function mountUnit(path: string): string {
  const trimmed = path.replace(/^\/+|\/+$/g, "").replace(/\/+/g, "/");
  if (trimmed === "") return "-.mount";
  const bytes = Buffer.from(trimmed, "utf8");
  let name = "";
  bytes.forEach((byte, index) => {
    const character = String.fromCharCode(byte);
    if (character === "/") name += "-";
    else if (/[A-Za-z0-9:_]/.test(character) || (character === "." && index > 0)) name += character;
    else name += `\\x${byte.toString(16).padStart(2, "0")}`;
  });
  return `${name}.mount`;
}

/** Text for a comment line: whatever could end the line is shown as an escape. */
export function comment(value: Value): string {
  const quoted = JSON.stringify(String(value)).slice(1, -1);
  return quoted.replace(/[\x7f-\x9f\u2028\u2029]/g, "?").replaceAll('\\"', '"');
}

/**
 * A quoted value in a settings file of a host (settings.sh and Settings.pm): backslashes and quotes behind a
 * backslash, control characters as \\xNN. Throws on NUL, which no variable of a shell can hold.
 */
export function conf(value: Value): string {
  const text = String(value);
  if (text.includes("\0")) throw new Error("a NUL character cannot be written into a settings file");
  const escaped = text
    .replace(/[\\"]/g, "\\$&")
    .replace(/[\x01-\x1f\x7f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `"${escaped}"`;
}

/** One argument in msmtp's configuration: the outer quotes are taken off, and nothing inside them is special. */
export function msmtp(value: Value): string {
  const text = String(value);
  refuseControl(text, "msmtp's configuration");
  return `"${text}"`;
}
