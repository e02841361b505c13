import { readSettings } from "../../../infra/config";
import { renderFiles } from "../../../infra/files";
import { hostsText, median } from "../statistics";
import { ours } from "./contenders";
import { ratios, samplesOf } from "./sessions";
import type { DeployResults, Work } from "./types";

/** One target with what was found. */
export interface Verdict {
  target: string;
  limit: number;
  /** Undefined when it was not measured. */
  found: number | undefined;
  unit: string;
}

/** Ratios to the quickest other tool: of a work, on so many hosts, at a distance in milliseconds. */
const quick: { work: Work; name: string; cells: [count: number, rtt: number, limit: number][] }[] = [
  {
    work: "nothing",
    name: "nothing changed",
    // prettier-ignore
    cells: [[1, 0, 1], [8, 0, 0.5], [16, 0, 0.4], [4, 50, 0.5], [8, 50, 0.5], [16, 50, 0.5]],
  },
  { work: "first", name: "first deployment", cells: [4, 8, 16].map((count) => [count, 0, 0.8]) },
  { work: "change", name: "one setting changed", cells: [4, 8, 16].map((count) => [count, 0, 0.8]) },
];

// A host as the bench deploys to it.
const [host] = readSettings({ stack: { "lsyncd:hosts": '[{"name":"a","address":"a"}]' }, env: {} }).hosts;
const managedFiles = host ? renderFiles(host).length : 0;

/** Connections of an update to one host, and how many of them may be open at once (sshd's MaxStartups begins to refuse at 10). */
const connections: { work: Work; name: string; limit: number }[] = [
  { work: "first", name: "first deployment", limit: managedFiles + 4 },
  { work: "nothing", name: "nothing changed", limit: 1 },
  { work: "change", name: "one setting changed", limit: 4 },
];
const mostAtOnce = 8;

/** What this program is meant to reach, and what it has reached. */
export function judge(results: DeployResults): Verdict[] {
  const own = (work: Work, count: number, rtt: number) => samplesOf(results, { tool: ours, hosts: count, rtt, work });
  const ratio = (work: Work, count: number, rtt: number): number | undefined => {
    const cell = own(work, count, rtt);
    const all = cell && ratios(cell.session, cell.samples, (tool) => tool !== ours);
    return all?.length ? median(all) : undefined;
  };
  const seconds = (count: number): number | undefined => {
    const cell = own("nothing", count, 0);
    return cell && median(cell.samples.map((sample) => sample.seconds));
  };
  const every = results.sessions
    .flatMap(({ samples }) => samples)
    .filter((sample) => sample.tool === ours && samplesOf(results, sample)?.samples.includes(sample));
  const most = (key: "connections" | "atOnce", work?: Work): number | undefined => {
    const values = every.filter((sample) => work === undefined || sample.work === work).map((sample) => sample[key]);
    return values.length === 0 ? undefined : Math.max(...values);
  };
  const [one, sixteen] = [seconds(1), seconds(16)];
  return [
    ...quick.flatMap(({ work, name, cells }) =>
      cells.map(([count, rtt, limit]) => ({
        target: `${name}, ${hostsText(count)}${rtt > 0 ? `, ${rtt} ms round trip` : ""}: ratio to the quickest other`,
        ...{ limit, found: ratio(work, count, rtt), unit: "" },
      })),
    ),
    {
      target: "nothing changed, 16 hosts: times as long as 1 host",
      ...{ limit: 2.5, found: one === undefined || sixteen === undefined ? undefined : sixteen / one, unit: "" },
    },
    ...connections.map(({ work, name, limit }) => ({
      target: `connections to a host, ${name}`,
      ...{ limit, found: most("connections", work), unit: "" },
    })),
    { target: "connections to a host at once", limit: mostAtOnce, found: most("atOnce"), unit: "" },
  ];
}
