import { createHmac, scryptSync } from "node:crypto";
import type { HostSettings, Waiver } from "../config";
import { digest, manifest, type RenderedFile } from "../files";
import { libDirectory, paths, runDirectory, stateDirectory, systemDirectories } from "../paths";
import { sh } from "../quote";
import { asRoot, bundleAsRoot, type Login } from "./become";
import { assignments, fragment, script } from "./script";

export { becauseOf, withoutReason } from "./script";
export { announcement, asRoot, lend, passwordMissing, passwordRefused } from "./become";

/** The scripts of a remote command: for creating or changing its resource, and for destroying it. */
export interface HostCommand {
  create: string;
  delete?: string;
  stdin: string;
}

/** The packages that a host needs for what is set: the mirror, the rotation of its log, mail, the heartbeat. */
export function packages({ smtp, heartbeatUrl }: HostSettings): string[] {
  const tls = [smtp && smtp.tls !== "off", heartbeatUrl?.startsWith("https:")].includes(true);
  return [
    ...["lsyncd", "rsync", "logrotate"],
    ...(smtp ? ["msmtp"] : []),
    ...(heartbeatUrl === undefined ? [] : ["curl"]),
    // The authorities that a server's certificate is checked against.
    ...(tls ? ["ca-certificates"] : []),
  ];
}

/** The deployment that a host belongs to: the old entry of a renamed or moved host does not undeploy it. */
export interface Identity {
  /** The stack, as `organization/project/stack`. */
  stack: string;
  host: HostSettings & Pick<Login, "refusedBy">;
}

const id = ({ stack, host }: Identity): string => `${stack}/${host.name}`;

/** Where files waited for their activation in earlier versions, below the home directory of the user who logs in. */
const staged = (identity: Identity): string => `.lsyncd-as-code/staged/${id(identity)}`;

/** The file that names the refusals that a preflight overrides in this run. */
const waiverFile = `${runDirectory}/waivers`;

/** Where the preflight leaves the files with secrets for the activation, in a folder for each deployment. */
const keptDirectory = `${stateDirectory}/kept`;

/** The shell variables that scripts are written with; a script gets those it uses. */
function variables(identity: Identity) {
  const { name, address, source, target } = identity.host;
  return { HOST: name, ADDRESS: address, ID: id(identity), SOURCE: source, TARGET: target, STATE: stateDirectory };
}

/** Records the waivers of a deployment on the host; the activation removes them. */
export function leaveWaivers(identity: Identity, deployment: string, waived: Waiver[]): HostCommand {
  const { ID, SOURCE, STATE } = variables(identity);
  const given = { WAIVERS: waived.join("\n"), ID, DEPLOYMENT: deployment, FILE: waiverFile, SOURCE, STATE };
  const { command, stdin } = asRoot(identity.host, "waive", script(given, ["volume.sh", "waive.sh"]));
  return { create: command(), stdin };
}

/** The files that look at a host, for the preflight and for the activation. */
const checks = ["volume.sh", "failover.sh", "report.sh", "inotify.sh", "foreign.sh", "neighbours.sh", "checks.sh"];

/** Their arguments. */
function checked(identity: Identity) {
  const { address, port, smtp, requireEncryption, acceptVolumes } = identity.host;
  return {
    ...variables(identity),
    PLACE: `${address} port ${String(port)}`,
    CONFIG: paths.configFile,
    LOG: paths.logFile,
    WAIVER_FILE: waiverFile,
    SMTP: smtp !== undefined,
    REQUIRE_ENCRYPTION: requireEncryption,
    ACCEPT_VOLUMES: acceptVolumes.join("\n"),
    PACKAGES: packages(identity.host).join(" "),
    SYSTEM_DIRECTORIES: systemDirectories.join(" "),
  };
}

/** The files with a password or similar: neither their text nor anything derived from it must be shown. */
const secretsOf = (files: RenderedFile[]): RenderedFile[] => files.filter(({ secret }) => secret);

/**
 * Looks at the host and refuses what would lose data; keeps the files with secrets there for the activation, which shows
 * all others. DEPLOYMENT, a digest, makes it run again when anything changes. It is made of secret files as well, so it is in
 * the standard input: the text of a command that fails is shown. With another SECRETS the activation accepts only files that
 * were sent again, so it is here too.
 */
export function preflight(identity: Identity, files: RenderedFile[], mark = markOf(identity, files)): HostCommand {
  const contents = secretsOf(files).map(({ path, content }) => [path, content] as const);
  const values = { ...checked(identity), DEPLOYMENT: digest(files), KEPT: keptDirectory, ...mark };
  const kept = contents.length === 0 ? [] : assignments("kept", new Map(contents));
  const text = script(values, [...checks, "output.sh", "preflight.sh"], kept);
  const { command, stdin } = asRoot(identity.host, "preflight", text);
  return { create: command(), stdin };
}

/** Installs the packages that are missing; on destroy removes those it installed. */
export function installPackages(identity: Identity): HostCommand {
  const { HOST, ID, STATE } = variables(identity);
  const text = script({ HOST, ID, STATE, PACKAGES: packages(identity.host).join(" ") }, [
    "output.sh",
    "lock.sh",
    "packages.sh",
  ]);
  const { command, stdin } = asRoot(identity.host, "packages", text);
  return { create: command(), delete: command("remove"), stdin };
}

/**
 * Puts the files into force, all or nothing, after the checks of the preflight once more; on destroy removes all that was
 * installed. The files are parts of one bundle, under their paths; those with secrets the preflight has left on the host.
 * SECRETS is a mark that is another one when such a file is; without new ones, those in force are used only if they have it.
 */
export function activate(identity: Identity, files: RenderedFile[], mark = markOf(identity, files)): HostCommand {
  const rest = {
    TEST_ALERT: identity.host.testAlert,
    STAGED: staged(identity),
    LIBRARY: libDirectory,
    ALERTS: paths.alertsRunDirectory,
    KEPT: keptDirectory,
    ...mark,
  };
  const { command, stdin } = bundleAsRoot(identity.host, "activate", {
    settings: script({ ...checked(identity), ...rest }, []) + "\ndeclare -A content=()\n",
    ...Object.fromEntries(files.filter(({ secret }) => !secret).map(({ path, content }) => [path, content])),
    catalogue: `CATALOGUE=${sh(catalogue(files))}\n`,
    program: [...checks, "output.sh", "undo.sh", "lock.sh", "activate.sh"].map(fragment).join("\n"),
  });
  return { create: command("install"), delete: command("remove"), stdin };
}

/**
 * The variable with a mark that is another one when a file with a secret is another; none without such files. It is shown, so it
 * must not let anyone try passwords: it needs the private key to be made, or where there is none a tenth of a second for each try
 * (scrypt).
 */
export function markOf({ host }: Identity, files: RenderedFile[]): { SECRETS?: string } {
  const secrets = secretsOf(files);
  if (secrets.length === 0) return {};
  const texts = manifest(secrets);
  const { privateKey, password = "", name } = host;
  const mark =
    privateKey === undefined
      ? scryptSync(texts, `${name} ${password}`, 16, { N: 1 << 15, maxmem: 1 << 26 })
      : createHmac("sha256", privateKey).update(texts).digest();
  return { SECRETS: mark.toString("hex").slice(0, 16) };
}

/** The managed files as an activation reads them: mode, what to restart, whether it was sent or kept, path. */
function catalogue(files: RenderedFile[]): string {
  return files
    .map(({ mode, restart, path, secret }) => [mode, restart, secret ? "kept" : "sent", path].join(" "))
    .join("\n");
}

/**
 * Looks at a host; see look.sh. With the waivers of a preview it runs the preflight as well, which leaves nothing on the
 * host then: so the waivers are its arguments.
 */
export function look(identity: Identity, preview?: Waiver[]): HostCommand {
  const { SOURCE, STATE, ID } = variables(identity);
  const values = preview ? checked(identity) : { SOURCE, STATE, ID, PACKAGES: packages(identity.host).join(" ") };
  const files = [...(preview ? checks : ["inotify.sh"]), "observe.sh", "look.sh"];
  const { command, stdin } = asRoot(identity.host, "look", script(values, files));
  return { create: preview ? command("preview", ...preview) : command(), stdin };
}

/** Prints the status of the mirror, including drift; see status.sh. */
export function status(host: HostSettings): HostCommand {
  const { SOURCE, STATE } = variables({ stack: "", host });
  const values = { SOURCE, STATE, MONITOR: paths.monitorProgram, PACKAGES: packages(host).join(" ") };
  const files = ["inotify.sh", "observe.sh", "status.sh"];
  const text = `${script(values, files)}set -u\nexec </dev/null\nexport LC_ALL=C.UTF-8\nstatus\n`;
  const { command, stdin } = asRoot(host, "status", text);
  return { create: command(), stdin };
}
