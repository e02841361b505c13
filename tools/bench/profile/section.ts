import { conditionsText, type Conditions } from "../results";
import type { Section } from "../sections";
import { figure, median, spreadText } from "../statistics";
import { markdownTable } from "../table";

/** docs/performance/profile.json. */
export interface ProfileResults {
  conditions: Conditions;
  /** In the order of the table; seconds and CPU seconds of each run. */
  steps: { title: string; seconds: number[]; cpu: number[] }[];
}

/** The section on where the time of a run goes. */
export const profileSection: Section = {
  results: "profile",
  render: (raw) => {
    const { conditions, steps } = raw as ProfileResults;
    const rows = steps.map(({ title, seconds, cpu }) => [title, spreadText(seconds), figure(median(cpu))]);
    return {
      text: `Measured: ${conditionsText(conditions)}.\n\n${markdownTable(["what runs", "seconds", "CPU seconds"], rows)}`,
    };
  },
};
