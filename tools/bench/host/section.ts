import { conditionsText } from "../results";
import type { Section } from "../sections";
import { figure, median, quantile, slope, spreadText } from "../statistics";
import { markdownTable } from "../table";
import type { HostResults, Runs } from "./types";

const megabytes = (bytes: number): string => figure(bytes / 2 ** 20);
const milliseconds = ({ seconds }: Runs): string => spreadText(seconds.map((value) => value * 1000));
const cpu = (runs: Runs): string => figure(median(runs.cpu) * 1000);

/** The volume that is known to have been too much for lsyncd: 272 thousand databases, and 78 GB of memory were reported. */
const databases = 272_000;

/** A section made of one part of the results; if that was not measured, the page says so. */
function section<Part extends keyof HostResults>(
  part: Part,
  render: (found: NonNullable<HostResults[Part]>) => string[],
): Section {
  return {
    results: "host",
    render: (raw) => {
      const found = (raw as HostResults)[part];
      if (!found) return { text: `Not measured yet: \`npm run bench -- host --parts ${part}\`.` };
      return { text: [`Measured: ${conditionsText(found.conditions)}.`, ...render(found)].join("\n\n") };
    },
  };
}

/** The sections on what the mirror costs on its host. */
export const hostSections: Record<string, Section> = {
  sizes: section("sizes", ({ runs }) => [
    markdownTable(
      [
        "files",
        "monitor, ms",
        "its CPU, ms",
        "preflight, empty target, ms",
        "with the mirror in the target, ms",
        "its CPU, ms",
      ],
      runs.map(({ files, monitor, preflightEmpty, preflightMirror }) => [
        ...[String(files), milliseconds(monitor), cpu(monitor)],
        ...[milliseconds(preflightEmpty), milliseconds(preflightMirror), cpu(preflightMirror)],
      ]),
    ),
  ]),
  latency: section("latency", ({ idle, busy, busyRate }) => [
    markdownTable(
      ["files are written", "files", "median, s", "99 of 100 within, s", "slowest, s"],
      [["one after the other has arrived", idle] as const, [`${busyRate} a second`, busy] as const].map(
        ([how, values]) => [
          ...[how, String(values.length), figure(median(values))],
          ...[figure(quantile(values, 0.99)), figure(Math.max(...values))],
        ],
      ),
    ),
  ]),
  directories: section("directories", ({ runs, kernel }) => {
    const each = slope(runs.map(({ directories, memory }) => ({ x: directories, y: memory })));
    const seconds = slope(runs.map(({ directories, start }) => ({ x: directories, y: median(start) })));
    const smallest = runs[0];
    const kernelEach = Object.values(kernel).reduce((sum, bytes) => sum + bytes, 0);
    const at = (count: number): string =>
      smallest === undefined ? "–" : megabytes(smallest.memory + each * (count - smallest.directories));
    return [
      markdownTable(
        ["directories", "start until in sync, s", "memory of lsyncd, MB"],
        runs.map(({ directories, start, memory }) => [String(directories), spreadText(start), megabytes(memory)]),
      ),
      `Ten thousand directories more cost ${figure(seconds * 10_000)} s at a start and ${megabytes(each * 10_000)} MB of lsyncd's memory.` +
        ` The kernel keeps ${figure(kernelEach)} bytes more for each (${Object.entries(kernel)
          .map(([name, bytes]) => `\`${name}\` ${bytes}`)
          .join(", ")}), ${megabytes(kernelEach * 10_000)} MB for ten thousand.`,
      `At this rate, ${databases} databases in directories of their own need ${at(databases)} MB in lsyncd, ` +
        `${megabytes(kernelEach * databases)} MB in the kernel, and ${figure(databases * seconds)} s at each start, in addition to the time that rsync takes to compare the files.`,
    ];
  }),
  burst: section("burst", ({ files, before, most, seconds }) => [
    `${files} files written as quickly as they could be: lsyncd grew from ${megabytes(before)} MB to ${megabytes(most)} MB, ` +
      `${figure((most - before) / files)} bytes for each, and all were mirrored ${figure(seconds)} s after the first was written.`,
  ]),
};
