/** Paths on a host, in one place, so that templates, commands and tests agree. */

/** Our own programs that are not meant for the command line. */
export const libDirectory = "/usr/local/lib/lsyncd-as-code";
/** State that outlives a deployment: which volumes are mirrored, what is installed, which alerts were sent. */
export const stateDirectory = "/var/lib/lsyncd-as-code";
/** State that a reboot may delete. */
export const runDirectory = "/run/lsyncd-as-code";
/** State of the monitor and the alerts that a reboot may delete. */
const alertsRunDirectory = `${runDirectory}/alerts`;

/** Paths that templates refer to, under the names they use. */
export const paths = {
  stateDirectory,
  runDirectory,
  configFile: "/etc/lsyncd/lsyncd.conf.lua",
  logFile: "/var/log/lsyncd/lsyncd.log",
  statusFile: "/var/log/lsyncd/lsyncd.status",
  /** Mark: a pass left files behind. A boot may forget it, because each start of lsyncd is a pass over everything. */
  resyncFile: `${runDirectory}/resync`,
  /** Marks: lsyncd is held after a mass deletion, a deletion is allowed once, the mirror is in use. */
  heldFile: `${stateDirectory}/held`,
  allowFile: `${stateDirectory}/allow-deletion`,
  failoverFile: `${stateDirectory}/failover`,
  /** Begins the name of a file for each pass under way: the process that it names. */
  passPrefix: `${runDirectory}/pass.`,
  /** How many files the mirror had in the last minutes. */
  entriesFile: `${stateDirectory}/entries`,
  /** Databases that the copier's worker may delete. */
  grantsFile: `${stateDirectory}/grants`,
  /** Mark: the source that is there is the one to mirror, although it is older than its mirror. */
  acceptFile: `${stateDirectory}/accept-source`,
  /** Parts of lsyncd's configuration that are the same on each host. */
  lsyncdLog: `${libDirectory}/lsyncd-log.lua`,
  lsyncdDelays: `${libDirectory}/lsyncd-delays.lua`,
  lsyncdProgram: "/usr/bin/lsyncd",
  rsyncProgram: "/usr/bin/rsync",
  /** rsync for other programs of a host, and where it writes in place: confined to the target. */
  volumeRsync: `${libDirectory}/volume-rsync`,
  guard: `${libDirectory}/lsyncd-guard`,
  watchesProgram: `${libDirectory}/lsyncd-watches`,
  undoProgram: `${libDirectory}/lsyncd-undo`,
  supervisor: `${libDirectory}/lsyncd-supervisor`,
  sqliteProgram: `${libDirectory}/sqlite-copier`,
  sqliteStateDirectory: `${stateDirectory}/sqlite`,
  verifyProgram: `${libDirectory}/lsyncd-verify`,
  mirrorProgram: `${libDirectory}/rsync-wrapper`,
  monitorProgram: "/usr/local/bin/lsyncd-monitor.sh",
  alertProgram: `${libDirectory}/lsyncd-alert`,
  /**
   * msmtp's configuration. The AppArmor profile that Debian's msmtp brings lets it read no other file of ours: it has
   * `owner @{HOME}/.msmtp* r`, and /etc/msmtprc, which belongs to the host.
   */
  msmtpConfig: "/root/.msmtprc-lsyncd",
  alertsRunDirectory,
  /** Seconds since boot at which the monitor last began a run. */
  monitorRanFile: `${alertsRunDirectory}/ran`,
} as const;

/** The directories of the system itself: a mirror to or from one of them would delete or copy the machine. */
export const systemDirectories: readonly string[] = [
  "/bin",
  "/boot",
  "/dev",
  "/etc",
  "/lib",
  "/lib32",
  "/lib64",
  "/proc",
  "/root",
  "/run",
  "/sbin",
  "/sys",
  "/usr",
  "/var",
];
