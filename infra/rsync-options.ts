/**
 * The rsync options that a mirror can have. Only options known to keep the mirror exact are accepted: rsync has more than two
 * hundred, and one that hides its output, or that uses the next word as its value, would defeat the checks that rsync-wrapper
 * makes on rsync's output.
 */

const none = undefined;
const size = /^\d+(\.\d+)?[KMGkmg]?(i?B)?$/;
const number = /^\d{1,9}$/;

/**
 * The accepted options, as rsync(1) of 3.2.7 (Debian 12) and of 3.4 (Debian 13) has them, each with the pattern of
 * its value if it has one. A test runs each of them.
 */
const supported: Record<string, RegExp | undefined> = {
  "--acls": none,
  "--atimes": none,
  "--block-size": size,
  "--bwlimit": size,
  "--checksum": none,
  // `none` would leave a damaged transfer unnoticed.
  "--checksum-choice": /^(?!.*\bnone\b)[a-z0-9,]{1,40}$/,
  "--checksum-seed": number,
  "--delete": none,
  "--delete-after": none,
  "--delete-before": none,
  "--delete-delay": none,
  "--delete-during": none,
  "--devices": none,
  "--force": none,
  "--fsync": none,
  "--group": none,
  "--hard-links": none,
  "--ignore-times": none,
  "--inplace": none,
  "--links": none,
  "--max-alloc": size,
  "--no-inc-recursive": none,
  "--no-perms": none,
  "--numeric-ids": none,
  "--omit-dir-times": none,
  "--omit-link-times": none,
  "--one-file-system": none,
  "--open-noatime": none,
  "--owner": none,
  "--perms": none,
  "--preallocate": none,
  "--sparse": none,
  "--specials": none,
  // A path is any text without control characters, as everywhere.
  "--temp-dir": /^\/[^\x00-\x1f\x7f]*$/,
  // In seconds; a database may be held still for a few.
  "--timeout": /^(0|[1-9]\d{1,8})$/,
  "--times": none,
  "--xattrs": none,
};

/**
 * Options with which rsync does the same whether it receives only the listed paths or also searches their directories: they
 * select no files, and compare nothing of a directory that the copier of databases does not compare (Sift.pm).
 */
const plain = [
  ...["--block-size", "--bwlimit", "--checksum", "--checksum-choice", "--checksum-seed", "--delete", "--delete-after"],
  ...["--delete-before", "--delete-delay", "--delete-during", "--devices", "--force", "--fsync", "--group"],
  ...["--ignore-times", "--inplace", "--links", "--max-alloc", "--no-inc-recursive", "--no-perms", "--numeric-ids"],
  ...["--omit-dir-times", "--omit-link-times", "--open-noatime", "--owner", "--perms", "--preallocate", "--sparse"],
  ...["--specials", "--temp-dir", "--timeout", "--times"],
];

/** The options of a mirror that do not change which files a call of rsync processes: lsyncd's list alone decides that. */
export function plainRsyncOptions(options: string[]): string[] {
  return options.filter((option) => plain.includes(option.split("=")[0] ?? ""));
}

const ownOutput = "the mirror's guard reads what rsync prints, and would no longer see a mass deletion";
const ownList = "lsyncd itself passes rsync the list of files";
const elsewhere = "the mirror is local";
const owners = "files in the mirror would have other owners, and would not be usable after a failover";
const unlinked = "links in the mirror would differ from those in the source";
const leftOut = "some files would not be mirrored";
const nothing = "nothing would be mirrored";
const unnoticed = "changed files of the same size would not be noticed";
const late = "the rest would not be mirrored after that time";
const setting = (name: string): string => `use the setting ${name} instead`;

/** Options that are refused for a specific reason. */
const breaking: Record<string, string> = {
  "--append": "it does not update changed files in the mirror",
  "--append-verify": "it does not update changed files in the mirror",
  "--archive": "it is always set",
  "--backup": "it leaves old versions in the mirror",
  "--backup-dir": "it leaves old versions in the mirror",
  "--chmod": "files of the mirror would have other modes",
  "--chown": owners,
  "--compare-dest": "files that are elsewhere would not be mirrored",
  "--compress": setting("compress"),
  "--config": elsewhere,
  "--copy-as": owners,
  "--copy-dest": "it mirrors something else",
  "--copy-devices": "it would read devices to their end",
  "--copy-dirlinks": unlinked,
  "--copy-links": unlinked,
  "--copy-unsafe-links": unlinked,
  "--cvs-exclude": leftOut,
  "--daemon": "it starts a server",
  "--debug": ownOutput,
  "--del": "write --delete-during",
  "--delete-excluded":
    "lsyncd passes rsync single changes by excluding everything else, which this option would delete",
  "--delete-missing-args": "a missing source would empty the mirror",
  "--dirs": "the content of directories would not be mirrored",
  "--dry-run": nothing,
  "--exclude": ownList,
  "--exclude-from": ownList,
  "--existing": "new files would not be mirrored",
  "--fake-super": "owners and modes would be hidden in attributes",
  "--files-from": ownList,
  "--filter": ownList,
  "--from0": "lsyncd sets it where it is needed",
  "--groupmap": owners,
  "--help": nothing,
  "--iconv": "files would have other names in the mirror",
  "--ignore-errors": "a source that cannot be read would count as deleted",
  "--ignore-existing": "changed files would not be mirrored",
  "--ignore-missing-args": leftOut,
  "--ignore-non-existing": "new files would not be mirrored",
  "--include": ownList,
  "--include-from": ownList,
  "--info": ownOutput,
  "--itemize-changes": ownOutput,
  "--keep-dirlinks": "a link in the mirror would lead rsync out of it",
  "--link-dest": "files of the mirror would be links to others",
  "--list-only": nothing,
  "--log-file": "it writes a file of its own",
  "--log-file-format": "it writes a file of its own",
  "--log-format": ownOutput,
  "--max-delete": "it ends lsyncd when the limit is reached; see deletionLimit",
  "--max-size": "large files would not be mirrored",
  "--min-size": "small files would not be mirrored",
  "--modify-window": "times are compared exactly: otherwise a rewrite within a second is missed",
  "--msgs2stderr": ownOutput,
  "--munge-links": unlinked,
  "--no-force": "a directory that became a file would not be mirrored",
  "--no-group": owners,
  "--no-links": unlinked,
  "--no-owner": owners,
  "--no-recursive": "directories would not be mirrored",
  "--no-times": unnoticed,
  "--no-whole-file": setting("wholeFile"),
  "--only-write-batch": nothing,
  "--out-format": ownOutput,
  "--password-file": elsewhere,
  "--progress": ownOutput,
  "--prune-empty-dirs": "empty directories would not be mirrored",
  "--quiet": ownOutput,
  "--read-batch": "it mirrors something else",
  "--relative": "files would land in the wrong place",
  "--remote-option": elsewhere,
  "--remove-sent-files": "it deletes from the source",
  "--remove-source-files": "it deletes from the source",
  "--rsh": elsewhere,
  "--rsync-path": elsewhere,
  "--safe-links": unlinked,
  "--sender": "it starts a server",
  "--server": "it starts a server",
  "--size-only": unnoticed,
  "--stats": ownOutput,
  "--stderr": ownOutput,
  "--stop-after": late,
  "--stop-at": late,
  "--suffix": "it leaves old versions in the mirror",
  "--time-limit": late,
  "--update": "files newer in the mirror would stay",
  "--usermap": owners,
  "--verbose": ownOutput,
  "--version": nothing,
  "--whole-file": setting("wholeFile"),
  "--write-batch": "it writes a file of its own",
  "--write-devices": "it writes to devices",
};

/** The names of the accepted options; those with a value end with `=`. */
export const supportedRsyncOptions: string[] = Object.entries(supported).map(
  ([name, value]) => name + (value === none ? "" : "="),
);

/** The names of the options that are refused for a specific reason. */
export const refusedRsyncOptions: string[] = Object.keys(breaking);

/** The error for an option; undefined if it is accepted. */
export function rsyncOptionFault(option: string): string | undefined {
  const [, name, value] = /^(--[A-Za-z0-9][A-Za-z0-9-]*)(?:=(.*))?$/s.exec(option) ?? [];
  if (name === undefined)
    return `must be one long option of rsync such as --bwlimit=10M, not ${JSON.stringify(option)}`;
  const why = Object.hasOwn(breaking, name) ? breaking[name] : undefined;
  if (why !== undefined) return `${name} is not supported: ${why}`;
  if (!Object.hasOwn(supported, name))
    return `${name} is not supported: it is not one of the options known to produce an exact mirror (docs/configuration.md)`;
  const pattern = supported[name];
  if (pattern === none) return value === none ? undefined : `${name} takes no value`;
  // A value in the next word would be whatever lsyncd puts there, such as the source.
  if (value === none) return `${name} needs its value in the same text: ${name}=…`;
  return pattern.test(value) && value.isWellFormed() ? undefined : `${name} cannot be ${JSON.stringify(value)}`;
}

// Of these rsync takes one; rsync-wrapper puts --delete-before in the place of the others when the target is full.
const moments = ["--delete-before", "--delete-during", "--delete-delay", "--delete-after"];

/** The errors for a combination of options; empty if there are none. */
export function rsyncOptionConflicts(options: string[]): string[] {
  const names = options.map((option) => option.split("=")[0] ?? "");
  const twice = [...new Set(names.filter((name, index) => names.indexOf(name) !== index))];
  const when = moments.filter((name) => names.includes(name));
  return [
    ...twice.map((name) => `${name} is set twice`),
    ...(when.length > 1 ? [`only one of ${when.join(", ")} can be set`] : []),
  ];
}

/** The options that do not apply to databases, because those are copied under SQLite's locks and not by rsync. */
export function optionsWithoutDatabases(options: string[]): string[] {
  return options.filter((option) => option === "--acls" || option === "--xattrs");
}
