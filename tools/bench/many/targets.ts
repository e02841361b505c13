import type { Verdict } from "../verdicts";
import type { Many } from "./types";

/** The number of databases that the targets of a start and of a time of commits are for. */
const most = 272_000;

/** At most: seconds behind, percent of a core, megabytes of lsyncd and the copier, starts of rsync. */
const times = [
  { perSecond: 40, worst: 3, cpu: 10, memory: 300, rsyncs: 0 },
  { perSecond: 400, worst: 5, cpu: 60 },
];

/** The targets of this program with very many databases, and the measured values. */
export function judgeMany(runs: readonly Many[]): Verdict[] {
  const plain = runs.filter(({ directories }) => directories === 1);
  const passes = runs.flatMap(({ number, directories, first, restart }): Verdict[] => [
    {
      target: `${number} databases${directories === 1 ? "" : ` in ${directories} directories`}: first pass, relative to \`rsync -a\` and a sync`,
      ...{ limit: 2, found: first && first.seconds / first.rsync, unit: "" },
    },
    ...(number === most && directories === 1
      ? [
          {
            target: `${number} databases: a start, relative to \`rsync -a --dry-run\``,
            ...{ limit: 1.5, found: restart && restart.seconds / restart.dryRun, unit: "" },
          },
        ]
      : []),
  ]);
  const rates = plain.find(({ number }) => number === most)?.rates ?? [];
  return [
    ...passes,
    ...times.flatMap(({ perSecond, worst, cpu, memory, rsyncs }): Verdict[] => {
      const rate = rates.find((one) => one.perSecond === perSecond);
      const what = `${most} databases, ${perSecond} commits a second`;
      const of = (name: string, limit: number | undefined, found: number | undefined, unit = ""): Verdict[] =>
        limit === undefined ? [] : [{ target: `${what}: ${name}`, limit, found, unit }];
      return [
        ...of("most seconds behind", worst, rate?.lag.worst),
        ...of("CPU of all, of a core", cpu, rate && rate.cpu * 100, " %"),
        ...of("memory of lsyncd and the copier", memory, rate && rate.memory.lsyncd + rate.memory.copier, " MB"),
        ...of("starts of rsync", rsyncs, rate?.rsyncs),
      ];
    }),
  ];
}
