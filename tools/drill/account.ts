import { columns } from "../../cli/table";

/** What became of one step. */
export interface Done {
  title: string;
  /** What was typed, and where: "" for what happened by itself. */
  where: "host" | "workstation" | "";
  command: string;
  result: string;
  /** How long it took; undefined for what was not done. */
  seconds?: number;
}

/** What a database lost with the primary. */
export interface Loss {
  path: string;
  /** Transactions that the application was told are committed, and that the mirror does not have. */
  transactions: number;
  /** From the newest commit in the mirror to the failure, in seconds. */
  seconds: number;
}

/** The whole of a drill. */
export interface Account {
  steps: Done[];
  losses: Loss[];
  /** From the failure to the first commit on the mirror, in seconds. */
  recoverySeconds: number;
  /** How long the application stood still for the return; undefined when there was none. */
  returnSeconds?: number;
}

const longest = 64;

const short = (text: string): string => {
  const line = text.trim().replaceAll(/\s*\n\s*/g, " ; ");
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
};

/** The account as a person reads it: a table of the steps, then what was lost and how long it took. */
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
    `recovery time   ${recoverySeconds.toFixed(1)} s from the failure to the first commit on the mirror (nobody had to think or to be woken)`,
    ...(returnSeconds === undefined
      ? []
      : [`return          ${returnSeconds.toFixed(1)} s without the application on the way back`]),
  ].join("\n");
}
