import type { HostSettings, Waiver } from "../config";
import { digest, manifest, type RenderedFile } from "../files";
import { paths, runDirectory, stateDirectory } from "../paths";
import { sh } from "../quote";
import { run, script } from "./script";

/** What a remote command runs when its resource is made or changed, and when it is destroyed. */
export interface HostCommand {
  create: string;
  delete?: string;
  stdin: string;
}

/** The packages that a host needs. */
export function packages({ smtp }: HostSettings): string[] {
  return ["lsyncd", "rsync", ...(smtp ? ["msmtp"] : [])];
}

/** Which deployment a host belongs to: a host that is renamed or moved is not undeployed by its old entry. */
export interface Identity {
  /** The stack, as `organization/project/stack`. */
  stack: string;
  host: HostSettings;
}

const id = ({ stack, host }: Identity): string => `${stack}/${host.name}`;

/** Root's rights on the host: nothing for root, sudo for everyone else. */
export const privilege = (host: HostSettings): string => (host.user === "root" ? "" : "sudo -n --");

/**
 * Where files wait for their activation, below the home directory of the user who logs in. Each deployment has a place
 * of its own: two that run at once do not take each other's files.
 */
const staged = (identity: Identity): string => `.lsyncd-as-code/staged/${id(identity)}`;

/** The file that tells a preflight which refusals to pass over in this very run. */
export const waiverFile = `${runDirectory}/waivers`;

/** The shell variables that scripts are written with; a script gets those it uses. */
function variables(identity: Identity) {
  const { name, address, source, target } = identity.host;
  return { HOST: name, ADDRESS: address, ID: id(identity), SOURCE: source, TARGET: target, STATE: stateDirectory };
}

/** Leaves the waivers of a deployment on the host; the activation takes them away. */
export function leaveWaivers(identity: Identity, deployment: string, waived: Waiver[]): HostCommand {
  const { ID } = variables(identity);
  const given = { WAIVERS: waived.join("\n"), ID, DEPLOYMENT: deployment, FILE: waiverFile };
  return { create: run(privilege(identity.host), "waive"), stdin: script(given, ["waive.sh"]) };
}

/** The files that look at a host, for the preflight and for the activation. */
const checks = ["volume.sh", "report.sh", "inotify.sh", "foreign.sh", "checks.sh"];

/** What they need to know. */
function checked(identity: Identity) {
  const { smtp, requireEncryption, acceptVolumes } = identity.host;
  return {
    ...variables(identity),
    CONFIG: paths.configFile,
    WAIVER_FILE: waiverFile,
    SMTP: smtp !== undefined,
    REQUIRE_ENCRYPTION: requireEncryption,
    ACCEPT_VOLUMES: acceptVolumes.join(" "),
    PACKAGES: packages(identity.host).join(" "),
  };
}

/** Looks at the host and refuses what would lose data. `deployment` makes it run again when anything changes. */
export function preflight(identity: Identity, deployment: string): HostCommand {
  return {
    create: run(privilege(identity.host), "preflight", "deployment", deployment),
    stdin: script(checked(identity), [...checks, "preflight.sh"]),
  };
}

/** The preflight as a preview runs it: it leaves nothing on the host, so the waivers are its arguments. */
export function previewPreflight(identity: Identity, deployment: string, waived: Waiver[]): HostCommand {
  const command = preflight(identity, deployment);
  return { ...command, create: [command.create, "preview", ...waived].join(" ") };
}

/** Installs the packages that are missing; on destroy removes those it installed. */
export function installPackages(identity: Identity): HostCommand {
  const { HOST, ID, STATE } = variables(identity);
  return {
    create: run(privilege(identity.host), "packages"),
    delete: run(privilege(identity.host), "packages", "remove"),
    stdin: script({ HOST, ID, STATE, PACKAGES: packages(identity.host).join(" ") }, ["packages.sh"]),
  };
}

/** Puts a file where activation takes it from; the file's content is the standard input. Needs no rights of root. */
export function stage(identity: Identity, file: RenderedFile): HostCommand {
  const path = `${staged(identity)}${file.path}`;
  return {
    create: `sh -c ${sh('umask 077; mkdir -p "${1%/*}" && cat >"$1.new" && mv "$1.new" "$1"')} ${file.mode} ${sh(path)}`,
    delete: `rm -f ${sh(path)}`,
    stdin: file.content,
  };
}

/**
 * Puts the staged files into force, all or nothing, after the checks of the preflight once more; on destroy removes all
 * that was installed.
 */
export function activate(identity: Identity, files: RenderedFile[]): HostCommand {
  const rest = {
    DEPLOYMENT: digest(files),
    LOG: paths.logFile,
    TEST_ALERT: identity.host.testAlert,
    STAGED: staged(identity),
    MANIFEST: manifest(files),
  };
  return {
    create: run(privilege(identity.host), "activate", "install"),
    delete: run(privilege(identity.host), "activate", "remove"),
    stdin: script({ ...checked(identity), ...rest }, [...checks, "activate.sh"]),
  };
}
