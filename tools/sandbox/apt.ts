import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import type { Release } from "./types";

/** One entry of apt's sources, whichever of the two formats it was written in. */
export interface AptSource {
  uris: string[];
  suites: string[];
  components: string[];
  /** A keyring's path, or the key itself. */
  signedBy?: string;
}

const words = (text: string | undefined): string[] => (text ?? "").split(/\s+/).filter((word) => word !== "");

/** Reads the one-line format of sources.list(5); source packages and options other than signed-by are left out. */
export function parseList(text: string): AptSource[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) return [];
    const [, options, uri = "", suite = "", components] = match;
    const signedBy = words(options)
      .find((option) => option.startsWith("signed-by="))
      ?.slice("signed-by=".length);
    return [{ uris: [uri], suites: [suite], components: words(components), ...(signedBy ? { signedBy } : {}) }];
  });
}

/** Reads the deb822 format of sources.list(5). */
export function parseDeb822(text: string): AptSource[] {
  const withoutComments = text
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .join("\n");
  return withoutComments.split(/\n\s*\n/).flatMap((paragraph) => {
    const fields = new Map<string, string>();
    for (const field of paragraph.split(/\n(?=\S)/)) {
      const colon = field.indexOf(":");
      if (colon > 0) fields.set(field.slice(0, colon).trim().toLowerCase(), field.slice(colon + 1).trim());
    }
    if (fields.get("enabled")?.toLowerCase() === "no" || !words(fields.get("types")).includes("deb")) return [];
    const signedBy = fields.get("signed-by");
    return [
      {
        uris: words(fields.get("uris")),
        suites: words(fields.get("suites")),
        components: words(fields.get("components")),
        ...(signedBy ? { signedBy } : {}),
      },
    ];
  });
}

/** True for Debian's own archive or a mirror of it, false for what else may be installed from (docker, nodesource, …). */
export function isDebianArchive(source: AptSource, codename: string): boolean {
  const suite = new RegExp(`^(${codename}|stable|oldstable)([-/](updates|security|backports|proposed-updates))?$`);
  return (
    source.components.includes("main") &&
    source.suites.length > 0 &&
    source.suites.every((name) => suite.test(name)) &&
    (source.signedBy?.includes("debian-archive") === true ||
      source.uris.every((uri) => /\/debian(-security)?\/?$/.test(uri)))
  );
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/**
 * The sources.list of a host: the mirrors this machine uses for Debian, for the host's release, `main` only.
 * Empty when this machine names none (it is not Debian): mmdebstrap then takes its own default.
 */
export function sourcesFor(release: Release, machine: AptSource[], machineCodename: string): string[] {
  const own = machine.filter((source) => isDebianArchive(source, machineCodename));
  const isSecurity = (suite: string): boolean => suite.endsWith("security");
  const urisOf = (security: boolean): string[] => [
    ...new Set(
      own
        .filter((source) => source.suites.some((suite) => isSecurity(suite) === security))
        .flatMap((source) => source.uris.map((uri) => uri.replace(/\/$/, ""))),
    ),
  ];
  const line = (uri: string, suite: string): string => `deb [signed-by=${keyring}] ${uri} ${suite} main`;
  return [
    ...urisOf(false).flatMap((uri) => [line(uri, release), line(uri, `${release}-updates`)]),
    ...urisOf(true).map((uri) => line(uri, `${release}-security`)),
  ];
}

/** All sources this machine's apt reads. */
export function machineSources(etc = "/etc/apt"): AptSource[] {
  const read = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");
  const parts = join(etc, "sources.list.d");
  const names = existsSync(parts) ? readdirSync(parts).sort() : [];
  return [
    ...parseList(read(join(etc, "sources.list"))),
    ...names.filter((name) => name.endsWith(".list")).flatMap((name) => parseList(read(join(parts, name)))),
    ...names.filter((name) => name.endsWith(".sources")).flatMap((name) => parseDeb822(read(join(parts, name)))),
  ];
}

/** This machine's release name, as in /etc/os-release. */
export function machineCodename(osRelease = readFileSync("/etc/os-release", "utf8")): string {
  return /^VERSION_CODENAME=["']?([^"'\n]+)/m.exec(osRelease)?.[1] ?? "";
}

/** Keeps the lines of `apt-config dump` that say how to reach a mirror: proxies, retries, checks of dates. */
export function reachSettings(dump: string): string[] {
  const wanted = /^Acquire::((https?|ftp)::|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date|Queue-Mode)/i;
  const local = /::(CaInfo|CaPath|SslCert|SslKey|Proxy-Auto-Detect|ProxyAutoDetect)\b/i;
  return dump.split("\n").filter((line) => wanted.test(line) && !local.test(line) && !line.endsWith(' "";'));
}

/** How this machine's apt reaches its mirrors, as lines for a host's apt.conf.d; proxies in the environment included. */
export async function machineReachSettings(env: NodeJS.ProcessEnv = process.env): Promise<string[]> {
  const dump = await run("apt-config", ["dump"], { allowFailure: true }).catch(() => ({ stdout: "" }));
  const settings = reachSettings(dump.stdout);
  const proxies = (["http", "https"] as const).flatMap((scheme) => {
    const proxy = env[`${scheme}_proxy`] ?? env[`${scheme.toUpperCase()}_PROXY`];
    const known = settings.some((line) => line.startsWith(`Acquire::${scheme}::Proxy `));
    return proxy && !known && !proxy.includes('"') ? [`Acquire::${scheme}::Proxy "${proxy}";`] : [];
  });
  // A mirror may be down for a moment; apt waits 1, 2, 4, … seconds (by default three times).
  const retries = settings.some((line) => line.startsWith("Acquire::Retries ")) ? [] : ['Acquire::Retries "5";'];
  return [...settings, ...proxies, ...retries];
}
