import { conditionsText } from "../results";
import type { Section } from "../sections";
import { figure, median, spreadText } from "../statistics";
import { markdownTable } from "../table";
import type { MirroredBy, SqliteResults, Written } from "./types";

/** A section made of one part of the results; if that was not measured, the page says so. */
function section<Part extends keyof SqliteResults>(
  part: Part,
  render: (found: NonNullable<SqliteResults[Part]>) => string[],
): Section {
  return {
    results: "sqlite",
    render: (raw) => {
      const found = (raw as SqliteResults)[part];
      if (!found) return { text: `Not measured yet: \`npm run bench -- sqlite --parts ${part}\`.` };
      return { text: [`Measured: ${conditionsText(found.conditions)}.`, ...render(found)].join("\n\n") };
    },
  };
}

const names: Record<MirroredBy, string> = { none: "no mirror", safe: "this program", plain: "rsync alone" };

/** How many times a value is another; each pair of the same round. */
const times = (values: number[], of: number[]): string =>
  spreadText(values.map((value, index) => value / (of[index] ?? NaN)));

/** The sections on what mirroring databases costs. */
export const sqliteSections: Record<string, Section> = {
  "sqlite-copies": section("copies", ({ runs }) => [
    markdownTable(
      [
        "database",
        "copied under locks, MB/s",
        "rsync, MB/s",
        "rsync --fsync, MB/s",
        "time relative to rsync",
        "relative to rsync --fsync",
      ],
      runs.map(({ megabytes, journal, safe, rsync, rsyncSynced }) => [
        `${megabytes} MB, ${journal === "wal" ? "WAL" : "rollback journal"}`,
        ...[safe, rsync, rsyncSynced].map((seconds) => figure(megabytes / median(seconds))),
        ...[times(safe, rsync), times(safe, rsyncSynced)],
      ]),
    ),
  ]),
  "sqlite-writers": section("writers", ({ runs }) => {
    const of = (workload: string, by: MirroredBy): Written[] =>
      runs.filter((one) => one.workload === workload && one.by === by);
    const workloads = [...new Set(runs.map(({ workload }) => workload))];
    const rows = workloads.flatMap((workload) =>
      (Object.keys(names) as MirroredBy[]).map((by) => {
        const [own, alone] = [of(workload, by), of(workload, "none")];
        const middle = (pick: (one: Written) => number): string => figure(median(own.map(pick)));
        return [
          workload,
          names[by],
          ...[middle(({ p50 }) => p50), middle(({ p99 }) => p99), middle(({ max }) => max)],
          times(
            own.map(({ transactions }) => transactions),
            alone.map(({ transactions }) => transactions),
          ),
          by === "none" ? "–" : middle(({ target, committed }) => target / committed),
        ];
      }),
    );
    return [
      markdownTable(
        [
          ...["database", "mirrored by", "p50, ms", "p99, ms", "slowest, ms"],
          ...["transactions relative to no mirror", "bytes to the target per byte committed"],
        ],
        rows,
        2,
      ),
    ];
  }),
  "sqlite-moments": section("moments", ({ runs }) => [
    markdownTable(
      [
        "",
        "moments",
        "copies opened",
        "broken or missing",
        "older than they may be",
        "behind: median, s",
        "99 of 100 within, s",
        "most, s",
      ],
      runs.map(({ how, samples, opened, faults, late, behind }) => [
        ...[how, String(samples), String(opened), String(faults), String(late)],
        ...[figure(behind.median), figure(behind.p99), figure(behind.most)],
      ]),
    ),
  ]),
};
