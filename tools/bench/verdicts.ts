import { figure } from "./statistics";
import { markdownTable } from "./table";

/** A target and the measured value. */
export interface Verdict {
  target: string;
  limit: number;
  /** Undefined if not measured. */
  found: number | undefined;
  unit: string;
}

/** The targets, what was found, and whether each was met. */
export function targetsTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ target, limit, found, unit }) => {
    const verdict =
      found === undefined
        ? "not measured"
        : found <= limit
          ? "met"
          : limit === 0
            ? "missed"
            : `missed by ${figure((found / limit - 1) * 100)} %`;
    return [target, `${figure(limit)}${unit}`, found === undefined ? "–" : `${figure(found)}${unit}`, verdict];
  });
  return markdownTable(["target", "at most", "found", ""], rows);
}
