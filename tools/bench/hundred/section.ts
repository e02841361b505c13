import { conditionsText, type Conditions } from "../results";
import type { Section } from "../sections";
import { figure, median, spreadText } from "../statistics";
import { markdownTable } from "../table";

/** The three operations, in their order. */
export const works = ["first deployment", "nothing changed", "one setting changed"] as const;

/** One operation on so many hosts: the values of each run. */
export interface Operation {
  hosts: number;
  work: (typeof works)[number];
  seconds: number[];
  /** CPU seconds on the deploying machine. */
  cpu: number[];
  /** Most bytes of memory at one time of all programs there. */
  memory: number[];
  connections: number[];
  /** Connections open at once. */
  atOnce: number[];
  /** Bytes of the stack's state behind it. */
  state: number[];
}

/** docs/performance/hundred.json. */
export interface HundredResults {
  conditions: Conditions;
  operations: Operation[];
}

/** The section on a hundred hosts. */
export const hundredSection: Section = {
  results: "hundred",
  render: (raw) => {
    const { conditions, operations } = raw as HundredResults;
    const per = (values: number[], hosts: number): string => figure(median(values) / hosts);
    const rows = operations.map(({ hosts, work, seconds, cpu, memory, connections, atOnce, state }) => [
      work,
      String(hosts),
      spreadText(seconds),
      figure(median(cpu)),
      figure(median(memory) / 2 ** 20),
      per(connections, hosts),
      per(atOnce, hosts),
      figure(median(state) / 1e3 / hosts),
    ]);
    const heads = ["work", "hosts", "seconds", "CPU seconds", "memory, MiB", "connections a host", "at once a host"];
    return {
      text: [`Measured: ${conditionsText(conditions)}.`, markdownTable([...heads, "state a host, kB"], rows)].join(
        "\n\n",
      ),
    };
  },
};
