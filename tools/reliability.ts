import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { run } from "./run";

const root = resolve(__dirname, "..");
const page = join(root, "docs", "reliability.md");

/** The integration tests that inject faults, in the order of the table. */
const chapters: [pattern: RegExp, title: string][] = [
  [/faults-(mounts|volumes)/, "Volumes that go away, come back, or are others"],
  [/faults-files/, "Files, processes and room"],
  [/activation-/, "Deployments that are interrupted, or do not work"],
  [/operator/, "Failover and replaced disks"],
  [/takeover/, "The way over from Ansible"],
];

/** A row as the tests write it (test/support/faults.ts). */
export interface Row {
  file: string;
  injected: string;
  happened: string;
  lost: number;
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

/** The page, of the rows that the tests have written. */
export function reliabilityPage(rows: Row[]): string {
  const tables = chapters.flatMap(([pattern, title]) => {
    const own = rows.filter(({ file }) => pattern.test(file));
    if (own.length === 0) return [];
    const lines = own.map(
      ({ injected, happened, lost }) =>
        `| ${cell(injected)} | ${cell(happened)} | ${lost === 0 ? "nothing" : `${lost} files`} |`,
    );
    return [`## ${title}`, "", "| injected | what happened | lost |", "| --- | --- | --- |", ...lines, ""];
  });
  return [
    "# Reliability",
    "",
    "Every row is a fault that a test injects on a real host (Debian, systemd, ext4 volumes). At its end the test compares",
    "the mirror with the source by the checksum of every file; *lost* is what is missing or differs then. This page is made",
    "by `npm run reliability` from what the tests have seen; `npm run reliability -- --torture` interrupts deployments at many",
    "more points. What is not tried here: LUKS itself (a file system on a loop device stands for the opened volume).",
    "",
    ...tables,
  ].join("\n");
}

async function main(args: string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-reliability-"));
  try {
    const results = join(folder, "rows");
    await writeFile(results, "");
    const pattern = chapters.map(([one]) => one.source).join("|");
    const jest = [join(root, "node_modules", "jest", "bin", "jest.js"), "--selectProjects", "integration"];
    const { code } = await run(process.execPath, [...jest, "--testPathPatterns", pattern, "--maxWorkers=2", "--ci"], {
      cwd: root,
      env: {
        ...process.env,
        RELIABILITY_RESULTS: results,
        ...(args.includes("--torture") ? { TORTURE: "1" } : {}),
      },
      allowFailure: true,
      echo: true,
    });
    const lines = (await readFile(results, "utf8")).split("\n").filter((line) => line !== "");
    const text = reliabilityPage(lines.map((line) => JSON.parse(line) as Row));
    const { format } = await import("prettier");
    await writeFile(page, await format(text, { parser: "markdown", printWidth: 120 }));
    console.log(`${page}: ${lines.length} faults`);
    if (code !== 0) {
      console.error("Some tests failed: the page has only the rows of those that passed.");
      process.exitCode = 1;
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (require.main === module) void main(process.argv.slice(2));
