import { columns } from "../../cli/table";

/** The result of one step. */
export interface Done {
  title: string;
  /** Where the command was entered; "" for an event without a command. */
  where: "host" | "workstation" | "";
  command: string;
  result: string;
  /** Duration; undefined for a skipped step. */
  seconds?: number;
}

/** The loss of one database. */
export interface Loss {
  path: string;
  /** Committed transactions that are missing from the mirror. */
  transactions: number;
  /** Seconds between the newest commit in the mirror and the failure. */
  seconds: number;
}

/** The report of a drill. */
export interface Account {
  steps: Done[];
  losses: Loss[];
  /** Seconds between the failure and the first commit on the mirror. */
  recoverySeconds: number;
  /** Seconds for which the application was stopped during the return; undefined if there was no return. */
  returnSeconds?: number;
}

const longest = 64;

const short = (text: string): string => {
  const line = text.trim().replaceAll(/\s*\n\s*/g, " ; ");
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
};

/** The report as text: a table of the steps, then the losses and the durations. */
export function accountText({ steps, losses, recoverySeconds, returnSeconds }: Account): string {
  const rows = steps.map(({ title, where, command, result, seconds }, index) => [
    String(index + 1),
    where,
    short(command === "" ? `(${title})` : command),
    short(result),
    seconds?.toFixed(1) ?? "-",
  ]);
  const worst = Math.max(...losses.map(({ seconds }) => seconds));
  return [
    ...columns([["step", "where", "command", "result", "seconds"], ...rows], 4),
    "",
    ...columns(
      [
        ["database", "transactions lost", "newest before the failure"],
        ...losses.map(({ path, transactions, seconds }) => [path, String(transactions), `${seconds.toFixed(1)} s`]),
      ],
      1,
    ),
    "",
    `recovery point  ${worst.toFixed(1)} s: no database in the mirror was older at the failure`,
    `recovery time   ${recoverySeconds.toFixed(1)} s from the failure to the first commit on the mirror (no human reaction time included)`,
    ...(returnSeconds === undefined
      ? []
      : [`return          ${returnSeconds.toFixed(1)} s without the application on the way back`]),
  ].join("\n");
}
