import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import type { HostSettings } from "./config";
import { libDirectory, paths } from "./paths";
import { plainRsyncOptions } from "./rsync-options";
import { contentOf, sourceOf, type Context } from "./render";

/** The service that must restart when a file changes. A restart of lsyncd costs a full pass over the volume. */
export type Restart = "lsyncd" | "monitor" | "none";

/** A file that the program installs on a host. */
export interface ManagedFile {
  /** Its name in the resource tree. */
  name: string;
  /** Where it is on the host, and below templates/: as a template (.hbs) that is rendered, or as it is. */
  path: string;
  /** Its mode in octal; owner and group are root. */
  mode: string;
  restart: Restart;
}

const verifies = ({ sqliteSafe, verifySchedule }: HostSettings): boolean => sqliteSafe && verifySchedule !== "";

/** A module of the mirroring programs: running ones have loaded it, so they restart when it changes. */
const perlModule = (name: string): ManagedFile => ({
  name: `perl-${name.toLowerCase()}`,
  path: `${libDirectory}/LsyncdAsCode/${name}.pm`,
  mode: "0644",
  restart: "lsyncd",
});

/** A library in Bash, by its name below the directory of libraries without `.sh`. */
const libraryOf = (name: string): ManagedFile => ({
  ...{
    name: `${name.replaceAll("/", "-")}-library`,
    path: `${libDirectory}/${name}.sh`,
    mode: "0644",
    restart: "none",
  },
});

/** A program that an operator calls. All programs are in the library's folder, which is replaced as a whole. */
const programOf = (name: string): ManagedFile => ({
  ...{ name, path: `${libDirectory}/lsyncd-${name}`, mode: "0755", restart: "none" },
});

/** Its command on PATH, three lines that call it. */
const commandOf = (name: string): ManagedFile => ({
  ...{ name: `${name}-command`, path: `/usr/local/sbin/lsyncd-${name}`, mode: "0755", restart: "none" },
});

/** The checks of the monitor: one file each. */
const checkNames = readdirSync(sourceOf(`${libDirectory}/checks`).file)
  .map((name) => name.replace(/\.sh$/, ""))
  .sort();

/** Every file that the program can install, in order of installation: files that others call come first. */
const catalogue: (ManagedFile & {
  when?: (host: HostSettings) => boolean;
  secret?: (host: HostSettings) => boolean;
})[] = [
  { name: "whole-perl", path: `${libDirectory}/LsyncdAsCode/Whole.pm`, mode: "0644", restart: "none" },
  { name: "whole-bash", path: `${libDirectory}/whole.sh`, mode: "0644", restart: "none" },
  { name: "settings-perl", path: `${libDirectory}/LsyncdAsCode/Settings.pm`, mode: "0644", restart: "none" },
  { name: "rsync-paths", path: `${libDirectory}/LsyncdAsCode/Paths.pm`, mode: "0644", restart: "none" },
  { name: "rsync-overlong", path: `${libDirectory}/LsyncdAsCode/Overlong.pm`, mode: "0644", restart: "none" },
  { name: "rsync-itemize", path: `${libDirectory}/LsyncdAsCode/Itemize.pm`, mode: "0644", restart: "none" },
  perlModule("System"),
  perlModule("Beneath"),
  perlModule("Private"),
  perlModule("Sparse"),
  { name: "rsync-room", path: `${libDirectory}/LsyncdAsCode/Room.pm`, mode: "0644", restart: "none" },
  { name: "settings-bash", path: `${libDirectory}/settings.sh`, mode: "0644", restart: "none" },
  { name: "volume", path: `${libDirectory}/volume.sh`, mode: "0644", restart: "none" },
  { name: "failover-library", path: `${libDirectory}/failover.sh`, mode: "0644", restart: "none" },
  { name: "volume-users", path: `${libDirectory}/volume-users`, mode: "0755", restart: "none" },
  { name: "volume-file", path: `${libDirectory}/volume-file`, mode: "0755", restart: "none" },
  perlModule("Disk"),
  { name: "volume-disk", path: `${libDirectory}/volume-disk`, mode: "0755", restart: "none" },
  { name: "gate", path: `${libDirectory}/LsyncdAsCode/Gate.pm`, mode: "0644", restart: "none" },
  { name: "gate-age", path: `${libDirectory}/LsyncdAsCode/Gate/Age.pm`, mode: "0644", restart: "none" },
  { name: "gate-ask", path: `${libDirectory}/LsyncdAsCode/Gate/Ask.pm`, mode: "0644", restart: "none" },
  { name: "gate-delete", path: `${libDirectory}/LsyncdAsCode/Gate/Delete.pm`, mode: "0644", restart: "none" },
  { name: "gate-generation", path: `${libDirectory}/LsyncdAsCode/Gate/Generation.pm`, mode: "0644", restart: "none" },
  { name: "gate-grants", path: `${libDirectory}/LsyncdAsCode/Gate/Grants.pm`, mode: "0644", restart: "none" },
  { name: "gate-kept", path: `${libDirectory}/LsyncdAsCode/Gate/Kept.pm`, mode: "0644", restart: "none" },
  { name: "gate-names", path: `${libDirectory}/LsyncdAsCode/Gate/Names.pm`, mode: "0644", restart: "none" },
  { name: "gate-permit", path: `${libDirectory}/LsyncdAsCode/Gate/Permit.pm`, mode: "0644", restart: "none" },
  { name: "gate-restore", path: `${libDirectory}/LsyncdAsCode/Gate/Restore.pm`, mode: "0644", restart: "none" },
  { name: "gate-tally", path: `${libDirectory}/LsyncdAsCode/Gate/Tally.pm`, mode: "0644", restart: "none" },
  { name: "gate-volume", path: `${libDirectory}/LsyncdAsCode/Gate/Volume.pm`, mode: "0644", restart: "none" },
  { name: "gate-work", path: `${libDirectory}/LsyncdAsCode/Gate/Work.pm`, mode: "0644", restart: "none" },
  { name: "pass", path: `${libDirectory}/LsyncdAsCode/Pass.pm`, mode: "0644", restart: "none" },
  perlModule("Handover"),
  perlModule("Ready"),
  perlModule("Options"),
  perlModule("Surplus"),
  { name: "unsynced", path: `${libDirectory}/LsyncdAsCode/Unsynced.pm`, mode: "0644", restart: "lsyncd" },
  { name: "recheck", path: `${libDirectory}/LsyncdAsCode/Recheck.pm`, mode: "0644", restart: "none" },
  { name: "limits", path: "/etc/lsyncd/limits.conf", mode: "0644", restart: "none" },
  { name: "mirror-settings", path: "/etc/lsyncd/mirror.conf", mode: "0644", restart: "lsyncd" },
  { name: "guard", path: paths.guard, mode: "0755", restart: "none" },
  { name: "lock-library", path: `${libDirectory}/lock.sh`, mode: "0644", restart: "none" },
  { name: "undo-library", path: `${libDirectory}/undo.sh`, mode: "0644", restart: "none" },
  { name: "undo", path: paths.undoProgram, mode: "0755", restart: "none" },
  { name: "watches-library", path: `${libDirectory}/inotify.sh`, mode: "0644", restart: "none" },
  { name: "watches", path: paths.watchesProgram, mode: "0755", restart: "none" },
  { name: "supervisor", path: paths.supervisor, mode: "0755", restart: "lsyncd" },
  { name: "lsyncd-log", path: paths.lsyncdLog, mode: "0644", restart: "lsyncd" },
  { name: "lsyncd-delays", path: paths.lsyncdDelays, mode: "0644", restart: "lsyncd" },
  { name: "mirror", path: paths.mirrorProgram, mode: "0755", restart: "none" },
  { name: "landlock", path: `${libDirectory}/LsyncdAsCode/Landlock.pm`, mode: "0644", restart: "none" },
  { name: "confined", path: `${libDirectory}/LsyncdAsCode/Confined.pm`, mode: "0644", restart: "none" },
  { name: "seccomp", path: `${libDirectory}/LsyncdAsCode/Seccomp.pm`, mode: "0644", restart: "none" },
  { name: "no-links", path: `${libDirectory}/LsyncdAsCode/NoLinks.pm`, mode: "0644", restart: "none" },
  { name: "volume-rsync", path: paths.volumeRsync, mode: "0755", restart: "none" },
  ...[
    "Locks",
    "Wal",
    "Unit",
    "Kind",
    "Mark",
    "Result",
    "Temporary",
    "Install",
    "Pages",
    "Plain",
    "Follow",
    "First",
    "Copy",
    "Snapshot",
    "State",
    "Names",
    "Rsync",
    "Run",
    "Sift",
    "Queue",
    "Waiting",
    "Place",
    "Batch",
    "Status",
    "Worker",
    "Start",
    "Call",
  ].map((name) => ({
    ...perlModule(name),
    when: ({ sqliteSafe }: HostSettings) => sqliteSafe,
  })),
  { name: "sqlite", path: paths.sqliteProgram, mode: "0755", restart: "lsyncd", when: ({ sqliteSafe }) => sqliteSafe },
  ...["Report", "Volumes", "Files", "Sqlite", "Databases", "Repair", ""].map((name) => ({
    ...perlModule(name === "" ? "Verify" : `Verify/${name}`),
    name: name === "" ? "verify-library" : `verify-${name.toLowerCase()}`,
    // No program that stays has it in its memory.
    restart: "none" as const,
    when: ({ sqliteSafe }: HostSettings) => sqliteSafe,
  })),
  { name: "verify", path: paths.verifyProgram, mode: "0755", restart: "none", when: ({ sqliteSafe }) => sqliteSafe },
  { ...commandOf("verify"), when: ({ sqliteSafe }) => sqliteSafe },
  ...["release", "undelete", "failover"].flatMap((name) => [programOf(name), commandOf(name)]),
  ...["jobs", "alert-state", "alert-common"].map(libraryOf),
  { name: "readable-library", path: `${libDirectory}/LsyncdAsCode/Readable.pm`, mode: "0644", restart: "none" },
  { name: "alert-json", path: `${libDirectory}/alert-json`, mode: "0755", restart: "none" },
  { name: "alert-message", path: `${libDirectory}/alert-message`, mode: "0755", restart: "none" },
  { name: "alert", path: paths.alertProgram, mode: "0755", restart: "none" },
  {
    name: "alert-settings",
    path: "/etc/lsyncd/alerts.conf",
    mode: "0600",
    restart: "none",
    secret: ({ heartbeatUrl }) => heartbeatUrl !== undefined,
  },
  {
    name: "msmtp",
    path: paths.msmtpConfig,
    mode: "0600",
    restart: "none",
    when: ({ smtp }) => smtp !== undefined,
    secret: ({ smtp }) => smtp?.password !== undefined,
  },
  { name: "logrotate", path: "/etc/logrotate.d/lsyncd-as-code", mode: "0644", restart: "none" },
  { name: "probe-library", path: `${libDirectory}/LsyncdAsCode/Probe.pm`, mode: "0644", restart: "none" },
  { name: "passes-library", path: `${libDirectory}/LsyncdAsCode/Passes.pm`, mode: "0644", restart: "none" },
  programOf("wait"),
  commandOf("wait"),
  ...["monitor/lsyncd", "monitor/errors", "monitor/findings", "monitor/metrics", "monitor/deployments", "monitor"].map(
    libraryOf,
  ),
  ...checkNames.map((name) => libraryOf(`checks/${name}`)),
  { name: "monitor", path: paths.monitorProgram, mode: "0755", restart: "none" },
  { name: "undo-service", path: "/etc/systemd/system/lsyncd-undo.service", mode: "0644", restart: "none" },
  { name: "monitor-service", path: "/etc/systemd/system/lsyncd-monitor.service", mode: "0644", restart: "none" },
  { name: "monitor-timer", path: "/etc/systemd/system/lsyncd-monitor.timer", mode: "0644", restart: "monitor" },
  {
    name: "verify-service",
    path: "/etc/systemd/system/lsyncd-verify.service",
    mode: "0644",
    restart: "none",
    when: verifies,
  },
  {
    name: "verify-timer",
    path: "/etc/systemd/system/lsyncd-verify.timer",
    mode: "0644",
    // It goes with the monitor's timer, which starts it.
    restart: "monitor",
    when: verifies,
  },
  { name: "config", path: paths.configFile, mode: "0644", restart: "lsyncd" },
  {
    name: "override",
    path: "/etc/systemd/system/lsyncd.service.d/override.conf",
    mode: "0644",
    restart: "lsyncd",
  },
];

/** A managed file with its text for one host. */
export interface RenderedFile extends ManagedFile {
  content: string;
  /** Its text holds a password or the like, so it must not be shown. */
  secret: boolean;
}

// The ports of submission with STARTTLS and with TLS from the start (RFC 8314), and of plain SMTP.
const smtpPorts = { starttls: 587, tls: 465, off: 25 };

/** The values for templates: the settings, with unset ones in a form that templates can test. */
function context(host: HostSettings): Context {
  const { smtp, heartbeatUrl = "", sqliteSafe, wholeFile, rsyncOptions } = host;
  const rsyncProgram = wholeFile ? paths.rsyncProgram : paths.volumeRsync;
  return {
    ...host,
    ...paths,
    heartbeatUrl,
    verifies: verifies(host),
    // Without the option lsyncd adds nothing, and between two local directories rsync itself then copies files whole.
    plainOptions: plainRsyncOptions(rsyncOptions),
    extraOptions: wholeFile ? rsyncOptions : ["--no-whole-file", ...rsyncOptions],
    rsyncProgram,
    copyProgram: sqliteSafe ? paths.sqliteProgram : rsyncProgram,
    inotifyMode: host.inotifyMode ?? (sqliteSafe ? "CloseWrite or Modify" : false),
    smtp: smtp
      ? { port: smtpPorts[smtp.tls], ...smtp, encrypted: smtp.tls !== "off", implicitTls: smtp.tls === "tls" }
      : false,
  };
}

/** The managed files of a host, rendered with its settings. */
export function renderFiles(host: HostSettings): RenderedFile[] {
  const values = context(host);
  return catalogue
    .filter(({ when }) => when?.(host) ?? true)
    .map(({ name, path, mode, restart, secret }) => ({
      ...{ name, path, mode, restart, secret: secret?.(host) ?? false },
      content: contentOf(path, values),
    }));
}

/** The manifest that an activation compares with the host: a line for each file with its mode, SHA-256, restart and path. */
export function manifest(files: RenderedFile[]): string {
  return files
    .map(({ mode, content, restart, path }) =>
      [mode, createHash("sha256").update(content).digest("hex"), restart, path].join(" "),
    )
    .join("\n");
}

/** A short digest of what is deployed: it differs when any file does. */
export function digest(files: RenderedFile[]): string {
  return createHash("sha256").update(manifest(files)).digest("hex").slice(0, 12);
}
