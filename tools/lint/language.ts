import { paths } from "../../infra/paths";

/** The languages that managed files are written in. */
export type Language = "lua" | "shell" | "perl" | "unit" | "msmtp" | "logrotate" | "settings";

/** The language of a managed file, by its path and text. Throws when it is unknown: then nothing would check it. */
export function languageOf({ path, content }: { path: string; content: string }): Language {
  const [first = ""] = content.split("\n");
  if (path.endsWith(".lua")) return "lua";
  if (path.startsWith("/etc/systemd/")) return "unit";
  if (path.startsWith("/etc/logrotate.d/")) return "logrotate";
  if (path === paths.msmtpConfig) return "msmtp";
  if (path.endsWith(".pm") || /^#!.*\bperl\b/.test(first)) return "perl";
  if (/^#!.*\b(ba)?sh\b/.test(first) || content.includes("shellcheck shell=")) return "shell";
  if (/^\/etc\/lsyncd\/\w+\.conf$/.test(path)) return "settings";
  throw new Error(`${path}: which program checks it is not known, see tools/lint/language.ts`);
}
