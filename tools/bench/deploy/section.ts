import { barChart } from "../chart";
import { conditionsText } from "../results";
import type { Section } from "../sections";
import { figure, hostsText, median, spreadText } from "../statistics";
import { markdownTable } from "../table";
import { contenders, ours } from "./contenders";
import { ratios, samplesOf } from "./sessions";
import { targetsTable } from "../verdicts";
import { judge } from "./targets";
import { works, type DeployResults, type Sample, type Work } from "./types";

const titles: Record<Work, string> = {
  first: "first deployment",
  nothing: "nothing changed",
  change: "one setting changed",
};

const titleOf = (tool: string): string => contenders[tool]?.title ?? tool;
const others = (tool: string): boolean => tool !== ours;

/** The measurements, in the order of the tables. */
function measured({ sessions }: DeployResults) {
  const samples = sessions.flatMap((session) => session.samples);
  const ascending = (pick: (sample: Sample) => number): number[] =>
    [...new Set(samples.map(pick))].sort((a, b) => a - b);
  return {
    tools: Object.keys(contenders).filter((tool) => samples.some((sample) => sample.tool === tool)),
    hosts: ascending(({ hosts }) => hosts),
    distances: ascending(({ rtt }) => rtt),
  };
}

/** Seconds of each tool, and the ratio of this program to the quickest other in the same round. */
function times(results: DeployResults, rtt: number): string {
  const { tools, hosts } = measured(results);
  const rows = works.flatMap((work) =>
    hosts.flatMap((count) => {
      const cells = tools.map((tool) => samplesOf(results, { tool, hosts: count, rtt, work }));
      if (cells.every((cell) => cell === undefined)) return [];
      const own = samplesOf(results, { tool: ours, hosts: count, rtt, work });
      const seconds = cells.map((cell) => (cell ? spreadText(cell.samples.map((sample) => sample.seconds)) : "–"));
      const ratio = own ? spreadText(ratios(own.session, own.samples, others)) : "–";
      return [[titles[work], String(count), ...seconds, ratio]];
    }),
  );
  return markdownTable(["work", "hosts", ...tools.map(titleOf), "ratio to the quickest other"], rows);
}

/** The cost of the tools: connections and sessions for each host, CPU time, memory. */
function costs(results: DeployResults, rtt: number): string {
  const { tools, hosts } = measured(results);
  const rows = works.flatMap((work) =>
    tools.flatMap((tool) =>
      hosts.flatMap((count) => {
        const found = samplesOf(results, { tool, hosts: count, rtt, work })?.samples;
        if (!found || ![hosts[0], hosts[hosts.length - 1]].includes(count)) return [];
        const most = (key: "connections" | "sessions" | "atOnce"): string =>
          String(Math.max(...found.map((sample) => sample[key])));
        const cpu = figure(median(found.map((sample) => sample.cpu)));
        const memory = figure(median(found.map((sample) => sample.memory / 2 ** 20)));
        const counts = [most("connections"), most("atOnce"), most("sessions")];
        return [[titles[work], titleOf(tool), String(count), ...counts, cpu, memory]];
      }),
    ),
  );
  const head = ["connections", "at once", "sessions", "CPU seconds", "memory, MB"];
  return markdownTable(["work", "tool", "hosts", ...head], rows, 2);
}

function chart(results: DeployResults, rtt: number, work: Work): string {
  const { tools, hosts } = measured(results);
  return barChart({
    title: `Time of a run: ${titles[work]}${rtt > 0 ? `, ${rtt} ms round trip` : ""}`,
    axis: "seconds",
    groups: hosts.map(hostsText),
    series: tools.map((tool) => ({
      name: titleOf(tool),
      values: hosts.map((count) => {
        const found = samplesOf(results, { tool, hosts: count, rtt, work })?.samples;
        return found && median(found.map(({ seconds }) => seconds));
      }),
    })),
  });
}

const distance = (rtt: number): string =>
  rtt === 0 ? "Hosts on the same machine" : `${rtt} ms round trip to the hosts`;

/** The section on deployments. */
export const deploySection: Section = {
  results: "deploy",
  render: (raw) => {
    const results = raw as DeployResults;
    const { tools, distances } = measured(results);
    const charts = Object.fromEntries(
      distances.map((rtt) => [`nothing-changed-${rtt}ms.svg`, chart(results, rtt, "nothing")]),
    );
    const versions = Object.assign({}, ...results.sessions.map((session) => session.versions)) as Record<
      string,
      string
    >;
    const rivals = tools.filter(others).map((tool) => `${titleOf(tool)}: ${versions[tool] ?? ""}`);
    const text = [
      `Measured: ${results.sessions.map(({ conditions }) => conditionsText(conditions)).join("; ")}. ${rivals.join(", ")}.`,
      "Seconds are medians, the quickest and the slowest run in parentheses. A ratio compares runs of the same round.",
      "### Targets",
      targetsTable(judge(results)),
      ...distances.flatMap((rtt) => [
        `### ${distance(rtt)}`,
        `![Time of a run that changes nothing](performance/nothing-changed-${rtt}ms.svg)`,
        times(results, rtt),
      ]),
      "### What a run costs",
      "Connections, those open at once and remote sessions are those of one host, at most. CPU time and memory are those of the tool and of all that it starts on the machine it runs on.",
      costs(results, distances[0] ?? 0),
    ];
    return { text: text.join("\n\n"), charts };
  },
};
