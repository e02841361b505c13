import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

/** Names the file that tests append their rows to, one JSON object a line. */
export const resultsVariable = "RELIABILITY_RESULTS";

/** A row as the tests write it (test/support/faults.ts). */
export interface Row extends Fault {
  /** Name of the file of tests. */
  file: string;
  /** Full name of the test. */
  test: string;
}

/** A fault and its outcome. */
export interface Fault {
  /** The injected fault. */
  injected: string;
  /** The observed outcome. */
  happened: string;
  /** Files that the mirror lacks or has with another content, at the end. */
  lost: number;
}

/** The results of a run of one test file: the last one, and the earlier ones that were added to. */
export interface Outcome {
  /** Day of the run, as 2026-11-25. */
  date: string;
  /** The trees of infra/ and templates/ it ran on, as git names them; with a plus when the working copy had changes. */
  program: string;
  passed: number;
  /** Full names of the tests that failed. */
  failed: string[];
  rows: Fault[];
  earlier?: Outcome[];
}

/** The outcome of each file of tests, by its name without folder and ending. */
export type Results = Record<string, Outcome>;

/** The parts of the page, and the files of tests (in test/hosts or test/hosts-long) that each is made of. */
export const chapters: { title: string; files: string[] }[] = [
  {
    title: "Volumes that disappear, return, or are replaced",
    files: ["faults-mounts", "faults-volumes", "btrfs"],
  },
  { title: "Files, processes and disk space", files: ["faults-files"] },
  {
    title: "Interrupted and failing deployments",
    files: ["activation-cut", "activation-interrupted", "activation-undone"],
  },
  { title: "Maintenance of the host", files: ["upkeep"] },
  { title: "Failover and replaced disks", files: ["operator", "drill"] },
  { title: "The application's own user", files: ["hostile-user"] },
  { title: "Adding, changing and removing hosts", files: ["takeover", "deploy", "hosts"] },
  {
    title: "Virtual machines: their own kernel, LUKS, power cuts",
    files: [
      "vm",
      "vm-trixie",
      "vm-host",
      "vm-quotas",
      "vm-cuts-ext4",
      "vm-cuts-xfs",
      "vm-cuts-steps",
      "vm-full",
      "vm-memory",
    ],
  },
];

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

const root = resolve(__dirname, "../..");

/** Where a file of tests on hosts is, from the root of the repository. Throws when there is none of that name. */
export function testFile(name: string): string {
  const found = ["test/hosts", "test/hosts-long"]
    .map((folder) => `${folder}/${name}.test.ts`)
    .find((path) => existsSync(join(root, path)));
  if (found === undefined)
    throw new Error(`there is no file of tests ${name}.test.ts in test/hosts or test/hosts-long`);
  return found;
}

/** All runs of a test file that count, the first one first. */
export const runsOf = (outcome: Outcome | undefined): Outcome[] =>
  outcome ? [...(outcome.earlier ?? []), outcome] : [];

/** When a test file ran and how it ended, so the page claims nothing that did not run. */
function provenance(name: string, outcome: Outcome | undefined): string {
  const runs = runsOf(outcome).map(({ date, program, passed, failed }) => {
    const failures = failed.map((test) => `**failed: ${test}**`);
    return `${[`${String(passed)} ${passed === 1 ? "test" : "tests"} passed`, ...failures].join(", ")} (${date}, ${program})`;
  });
  return `[${name}](../${testFile(name)}): ${runs.length === 0 ? "not run" : runs.join("; ")}.`;
}

/** The page, from the results of the tests. */
export function reliabilityPage(results: Results): string {
  const tables = chapters.flatMap(({ title, files }) => {
    const lines = files
      .flatMap((name) => runsOf(results[name]).flatMap(({ rows }) => rows))
      .map(
        ({ injected, happened, lost }) =>
          `| ${cell(injected)} | ${cell(happened)} | ${lost === 0 ? "nothing" : `${String(lost)} files`} |`,
      );
    const table = ["| injected | what happened | lost |", "| --- | --- | --- |", ...lines, ""];
    return [
      `## ${title}`,
      "",
      ...(lines.length > 0 ? table : []),
      ...files.map((name) => `- ${provenance(name, results[name])}`),
      "",
    ];
  });
  return [
    "# Reliability",
    "",
    "For those who decide whether to trust it: each row is a fault that a test injects on a real host (Debian with systemd in a",
    "container, volumes on loop devices). At the end the test compares the mirror with the source by the checksum of every file; *lost*",
    "counts the files that differ or are missing. `npm run reliability` writes this page from the results: a row is there only if its test",
    "ran and passed. `npm run reliability -- --torture` interrupts deployments at many more points. The lines below each table give the",
    "date and the version of its tests; `git rev-parse --short=8 HEAD:infra` and `HEAD:templates` print the current version.",
    "",
    ...tables,
    "## Not tested",
    "",
    "- **What emulation cannot show.** The virtual machines are emulated where KVM does not work: they have one processor and a",
    "  disk that a program simulates. They show whether the result is right, and nothing about speed, real controllers that ignore",
    "  a flush, or races between processors. All other hosts are containers, where a file system on a loop device stands for the",
    "  unlocked volume.",
    "- **ZFS.** Its kernel module is not part of Debian's kernel. A dataset has no UUID that `blkid` knows, so it would be identified by",
    "  its name; the limit on inotify watches would be the floor, as on btrfs.",
    "- **The kernel's own limit on inotify watches.** `fs.inotify.max_user_watches` belongs to the whole machine, and a test that",
    "  lowers it would affect every other program there. The tests use a writable or read-only file in its place",
    "  ([preflight-places](../test/hosts/preflight-places.test.ts),",
    "  [kernel-limits](../test/hosts/kernel-limits.test.ts)).",
    "",
    "## What this does not protect against",
    "",
    "- **Loss of the host, or an attacker with root on it.** Both volumes are on it. Use DRBD to another host, or a backup",
    "  that this host cannot delete.",
    "- **Wrong data from the application.** It reaches the mirror a second later. ZFS snapshots, Litestream or a backup keep earlier",
    "  versions.",
    "- **Loss of the last second.** RAID 1 and DRBD avoid it, because they wait for the second disk.",
    "",
  ].join("\n");
}
