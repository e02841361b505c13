import { conditionsText } from "../results";
import type { Section } from "../sections";
import { figure } from "../statistics";
import { markdownTable } from "../table";
import type { Cost, Verified, VerifyResults } from "./types";

const row = ({ databases, megabytes, rsync, plain, checksum }: Verified): string[] => [
  ...[String(databases), figure(megabytes)],
  ...[rsync, plain, checksum].flatMap(({ seconds, cpu }: Cost) => [figure(seconds), figure(cpu)]),
  figure((plain.seconds / databases) * 1000),
];

/** The section on what lsyncd-verify costs. */
export const verifySection: Section = {
  results: "verify",
  render: (raw) => {
    const { conditions, runs } = raw as VerifyResults;
    const heads = [
      ...["databases", "MB", "`rsync -a --dry-run --checksum`, s", "CPU s", "`lsyncd-verify`, s", "CPU s"],
      ...["`lsyncd-verify --checksum`, s", "CPU s", "`lsyncd-verify`, ms a database"],
    ];
    const rows = [...runs].sort((a, b) => a.databases - b.databases).map(row);
    return { text: [`Measured: ${conditionsText(conditions)}.`, markdownTable(heads, rows)].join("\n\n") };
  },
};
