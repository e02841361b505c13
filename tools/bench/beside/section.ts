import { conditionsText } from "../results";
import type { Section } from "../sections";
import { figure } from "../statistics";
import { markdownTable } from "../table";
import { ways, type Beside, type BesideResults, type Way } from "./types";

const titles: Record<Way, string> = {
  "lsyncd-as-code": "this program",
  cron: "`rsync -a` every two minutes, without -wal",
  litestream: "Litestream",
};

const row = ({ way, databases, perSecond, seconds, commits, lag, cpu, memory, copies, open }: Beside): string[] => [
  ...[titles[way], String(databases), String(perSecond), figure(commits / seconds)],
  ...[lag.median, lag.p99, lag.worst].map((value) => (lag.count === 0 ? "–" : figure(value))),
  ...[`${open} of ${copies}`, figure(cpu * 100), figure(memory)],
];

/** The section on other ways to copy many databases. */
export const besideSection: Section = {
  results: "beside",
  render: (raw) => {
    const { conditions, runs } = raw as BesideResults;
    const order = ({ way, databases }: Beside): number => databases * ways.length + ways.indexOf(way);
    const heads = [
      ...["copied by", "databases", "target commits a second", "achieved"],
      ...["behind: median, s", "99 of 100 within, s", "most, s", "copies that open", "CPU, % of a core", "memory, MB"],
    ];
    const rows = [...runs].sort((a, b) => order(a) - order(b)).map(row);
    return { text: [`Measured: ${conditionsText(conditions)}.`, markdownTable(heads, rows)].join("\n\n") };
  },
};
