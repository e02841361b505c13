import { hostsText, median } from "../statistics";
import type { Verdict } from "../verdicts";
import { ours } from "./contenders";
import { ratios, samplesOf } from "./sessions";
import type { DeployResults, Work } from "./types";

/** At most this ratio to the quickest other tool: of a work, on so many hosts, at a distance in milliseconds. */
const quick: { work: Work; name: string; cells: [count: number, rtt: number, limit: number][] }[] = [
  // prettier-ignore
  { work: "first", name: "first deployment", cells: [[1, 0, 1.6], [4, 0, 1.6], [8, 0, 1.8], [16, 0, 2], [8, 50, 1]] },
  {
    work: "nothing",
    name: "nothing changed",
    // prettier-ignore
    cells: [[1, 0, 1], [4, 0, 0.9], [8, 0, 0.9], [16, 0, 0.9], [8, 50, 0.5]],
  },
  {
    work: "change",
    name: "one setting changed",
    // prettier-ignore
    cells: [[1, 0, 1.5], [4, 0, 1.5], [8, 0, 1.5], [16, 0, 1.5], [8, 50, 0.8]],
  },
];

/** So many times as long may 16 hosts take as 8. */
const growth = 2.2;

/** Connections of an update to one host. With the official plugin all of them stay open until it ends. */
const connections: { work: Work; limit: number }[] = [
  { work: "first", limit: 4 },
  { work: "nothing", limit: 1 },
  { work: "change", limit: 3 },
];

/** The targets of this program, and the measured values. */
export function judge(results: DeployResults): Verdict[] {
  const own = (work: Work, count: number, rtt: number) => samplesOf(results, { tool: ours, hosts: count, rtt, work });
  const ratio = (work: Work, count: number, rtt: number): number | undefined => {
    const cell = own(work, count, rtt);
    const all = cell && ratios(cell.session, cell.samples, (tool) => tool !== ours);
    return all?.length ? median(all) : undefined;
  };
  const every = results.sessions
    .flatMap(({ samples }) => samples)
    .filter((sample) => sample.tool === ours && samplesOf(results, sample)?.samples.includes(sample));
  const most = (work: Work): number | undefined => {
    const values = every.filter((sample) => sample.work === work).map((sample) => sample.connections);
    return values.length === 0 ? undefined : Math.max(...values);
  };
  const grown = (work: Work): number | undefined => {
    const [eight, sixteen] = [own(work, 8, 0), own(work, 16, 0)];
    // Of one session: times of two days, or of two versions, say nothing about growth.
    if (!eight || eight.session !== sixteen?.session) return undefined;
    const [few, many] = [eight, sixteen].map(({ samples }) => median(samples.map((sample) => sample.seconds)));
    return few === undefined || many === undefined ? undefined : many / few;
  };
  return [
    ...quick.flatMap(({ work, name, cells }) =>
      cells.map(([count, rtt, limit]) => ({
        target: `${name}, ${hostsText(count)}${rtt > 0 ? `, ${rtt} ms round trip` : ""}: ratio to the quickest other`,
        ...{ limit, found: ratio(work, count, rtt), unit: "" },
      })),
    ),
    ...quick.map(({ work, name }) => ({
      target: `${name}, 16 hosts: times as long as 8 hosts`,
      ...{ limit: growth, found: grown(work), unit: "" },
    })),
    ...connections.map(({ work, limit }) => ({
      target: `connections to a host, ${quick.find((one) => one.work === work)?.name ?? work}`,
      ...{ limit, found: most(work), unit: "" },
    })),
  ];
}
