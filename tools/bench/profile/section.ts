import { conditionsText, type Conditions } from "../results";
import type { Section } from "../sections";
import { figure, hostsText, median, spreadText } from "../statistics";
import { markdownTable } from "../table";

/** docs/performance/profile.json. */
export interface ProfileResults {
  conditions: Conditions;
  /** In the order of the table; seconds and CPU seconds of each run. */
  steps: { title: string; seconds: number[]; cpu: number[] }[];
  /** CPU seconds of each run, by the program that used them, and the bytes of the stack's state; by the number of hosts. */
  programs: { hosts: number; cpu: Record<string, number[]>; state: number }[];
  /** The parts of the engine's CPU time, by the number of hosts and the work, if Go's pprof was installed. */
  engineUse: { hosts: number; nothing: EngineShares; change: EngineShares }[];
  /** One setting changed, on the host: CPU seconds of all its processes, and those of lsyncd's service with what its start runs. */
  onHost?: { all: number[]; service: number[] };
}

/** Shares (0 to 1) of the engine's CPU time. */
export interface EngineShares {
  /** Its own log, below ~/.pulumi/logs. */
  log: number;
  /** Writing the state down after each step. */
  state: number;
}

/** The section on where the time of a run goes. */
export const profileSection: Section = {
  results: "profile",
  render: (raw) => {
    const { conditions, steps, programs, engineUse, onHost } = raw as ProfileResults;
    const rows = steps.map(({ title, seconds, cpu }) => [title, spreadText(seconds), figure(median(cpu))]);
    const titles = [...new Set(programs.flatMap(({ cpu }) => Object.keys(cpu)))];
    const used = titles.map((title) => [title, ...programs.map(({ cpu }) => spreadText(cpu[title] ?? []))]);
    const sizes = programs.map(({ hosts, state }) => `${figure(state / 1e6)} MB with ${hostsText(hosts)}`).join(", ");
    const share = (value: number): string => `${(100 * value).toFixed(0)} %`;
    const engine = engineUse.flatMap(({ hosts, nothing, change }) => [
      ["nothing changed", String(hosts), share(nothing.log), share(nothing.state)],
      ["one setting changed", String(hosts), share(change.log), share(change.state)],
    ]);
    return {
      text: [
        `Measured: ${conditionsText(conditions)}.`,
        markdownTable(["what runs", "seconds", "CPU seconds"], rows),
        "Of the whole, the CPU seconds of each program:",
        markdownTable(["program", ...programs.map(({ hosts }) => hostsText(hosts))], used),
        `The state of the stack: ${sizes}.`,
        ...(onHost === undefined
          ? []
          : [
              `One changed setting costs the host ${spreadText(onHost.all)} CPU seconds (target: at most 0.6); ${spreadText(onHost.service)} of them are ` +
                "lsyncd's service: its restart, the guard's checks and the first pass, which prove that lsyncd mirrors.",
            ]),
        ...(engine.length === 0
          ? []
          : [
              "Of the CPU time of the engine as `npx pulumi up` starts it, the shares that go into its own log below `~/.pulumi/logs`, and into writing the whole state down after each step:",
              markdownTable(["work", "hosts", "its log", "the state"], engine),
            ]),
      ].join("\n\n"),
    };
  },
};
