import { conditionsText, type Conditions } from "../results";
import type { Section } from "../sections";
import { figure, median, spreadText } from "../statistics";
import { markdownTable } from "../table";

/** docs/performance/profile.json. */
export interface ProfileResults {
  conditions: Conditions;
  /** In the order of the table; seconds and CPU seconds of each run. */
  steps: { title: string; seconds: number[]; cpu: number[] }[];
  /** CPU seconds of each run, by the program that used them, by the number of hosts. */
  programs: { hosts: number; cpu: Record<string, number[]> }[];
  /** The share of its CPU time that the engine uses for its own log, by the number of hosts; where Go's pprof is there to tell. */
  logShare: { hosts: number; share: number }[];
}

/** The section on where the time of a run goes. */
export const profileSection: Section = {
  results: "profile",
  render: (raw) => {
    const { conditions, steps, programs, logShare } = raw as ProfileResults;
    const rows = steps.map(({ title, seconds, cpu }) => [title, spreadText(seconds), figure(median(cpu))]);
    const titles = [...new Set(programs.flatMap(({ cpu }) => Object.keys(cpu)))];
    const counted = (hosts: number): string => `${hosts} ${hosts === 1 ? "host" : "hosts"}`;
    const used = titles.map((title) => [title, ...programs.map(({ cpu }) => spreadText(cpu[title] ?? []))]);
    const shares = logShare.map(({ hosts, share }) => `${figure(100 * share)} % at ${counted(hosts)}`).join(", ");
    return {
      text: [
        `Measured: ${conditionsText(conditions)}.`,
        markdownTable(["what runs", "seconds", "CPU seconds"], rows),
        "Of the whole, the CPU seconds of each program:",
        markdownTable(["program", ...programs.map(({ hosts }) => counted(hosts))], used),
        ...(shares === ""
          ? []
          : [`Of the engine's CPU time so much goes into the log that it writes below \`~/.pulumi/logs\`: ${shares}.`]),
      ].join("\n\n"),
    };
  },
};
