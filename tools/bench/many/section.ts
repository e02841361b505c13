import { conditionsText } from "../results";
import type { Section } from "../sections";
import { figure } from "../statistics";
import { markdownTable } from "../table";
import { targetsTable } from "../verdicts";
import { judgeMany } from "./targets";
import type { Many, ManyResults, Rate } from "./types";

/** Where the databases are, for people. */
const where = ({ directories }: Many): string => (directories === 1 ? "one directory" : `${directories} directories`);

const rateRow = (one: Many, rate: Rate): string[] => [
  ...[String(one.number), where(one), String(rate.perSecond), figure(rate.commits / rate.seconds)],
  ...[rate.lag.median, rate.lag.p99, rate.lag.worst].map((value) => (rate.lag.count === 0 ? "–" : figure(value))),
  ...[String(rate.delays), String(rate.rsyncs), figure(rate.cpu * 100)],
  ...[figure(rate.memory.lsyncd), figure(rate.memory.copier)],
  rate.alone === 0 ? "–" : figure(rate.p99 / rate.alone),
];

/** The section on the mirror of very many small databases. */
export const manySection: Section = {
  results: "many",
  render: (raw) => {
    const { runs } = raw as ManyResults;
    const conditions = [...new Set(runs.map((one) => (one.conditions ? conditionsText(one.conditions) : "")))].sort();
    const passes = runs.flatMap((one) =>
      one.first && one.restart
        ? [
            [
              ...[String(one.number), where(one)],
              ...[one.first.seconds, one.first.rsync, one.first.seconds / one.first.rsync].map(figure),
              ...[one.restart.seconds, one.restart.dryRun, one.restart.seconds / one.restart.dryRun].map(figure),
              ...[
                one.restart.dryDelete,
                one.first.memory && one.first.memory.lsyncd + one.first.memory.copier,
                one.kernel,
              ].map((value) => (value === undefined ? "–" : figure(value))),
            ],
          ]
        : [],
    );
    const rates = runs.flatMap((one) => one.rates.map((rate) => rateRow(one, rate)));
    return {
      text: [
        `Measured: ${conditions.join("; ")}.`,
        targetsTable(judgeMany(runs)),
        markdownTable(
          [
            ...["databases", "in", "first pass, s", "`rsync -a` and a sync, s", "ratio"],
            ...["start in sync, s", "`rsync -a --dry-run`, s", "ratio", "with `--delete`, s"],
            ...["lsyncd and copier in the first pass, MB", "kernel, MB"],
          ],
          passes,
          2,
        ),
        markdownTable(
          [
            ...["databases", "in", "target commits a second", "achieved"],
            ...["behind: median, s", "99 of 100 within, s", "most, s"],
            ...[
              "most delays",
              "starts of rsync",
              "CPU, % of a core",
              "lsyncd, MB",
              "copier, MB",
              "p99 relative to no mirror",
            ],
          ],
          rates,
          2,
        ),
      ].join("\n\n"),
    };
  },
};
