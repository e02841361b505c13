import type { Tools } from "../../torture/tools";
import { torture } from "../../torture/torture";
import { writers } from "../../torture/workload";
import { say } from "../options";
import { quantile } from "../statistics";
import type { Moments } from "./types";

/** The ways to configure lsyncd, by their names on the page. */
const ways = [
  { how: "`sqliteSafe: true`, the default", safe: true },
  { how: "`sqliteSafe: false`: rsync, when files are closed", safe: false, inotifyMode: "" },
  { how: "`sqliteSafe: false` and `inotifyMode: CloseWrite or Modify`", safe: false },
];

/** The torture test in each way. For rsync alone a quarter of the samples is enough. */
export async function moments(tools: Tools, most: number): Promise<Moments[]> {
  const found: Moments[] = [];
  for (const { how, ...way } of ways) {
    const samples = way.safe ? most : Math.ceil(most / 4);
    const { findings, faults, late } = await torture({ tools, writers: writers(false), samples, ...way });
    const behind = findings.flatMap((finding) => (finding.fault === null ? (finding.behind ?? []) : []));
    found.push({
      ...{ how, samples, opened: findings.length, faults: faults.length, late: late.length },
      behind: { median: quantile(behind, 0.5), p99: quantile(behind, 0.99), most: Math.max(...behind) },
    });
    say(JSON.stringify(found.at(-1)));
  }
  return found;
}
