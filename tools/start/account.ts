import type { SandboxHost } from "../sandbox";

/** A row of a database that was waited for in the mirror. */
export interface Arrival {
  /** Time between its commit and the first moment a reader of the mirror saw it. */
  milliseconds: number;
  /** How many rows there are. */
  rows: number;
}

/** The line that `npm start` prints before it deploys. */
export const announcement = (host: string): string => `Deploying to ${host} (npm run up -- --stack sandbox)`;

/** The report of `npm start`, and suggestions what to try next, as lines. */
export function account(
  { name, source, target, release }: Pick<SandboxHost, "name" | "source" | "target" | "release">,
  arrived: Arrival & { database: string },
  changes: string,
  version: string,
): string[] {
  const seconds = (arrived.milliseconds / 1000).toFixed(1);
  const tries: [string, string][] = [
    [`npm run sandbox -- ssh ${name} -- systemctl status lsyncd`, "show the service"],
    [`npm run sandbox -- ssh ${name} -- umount ${source}`, "unmount the source: the mirror is not touched"],
    ["LSYNCD_TARGET=/mnt/elsewhere npm start", "a wrong setting: the preflight refuses it"],
    ["npm run sandbox -- down", "remove the sandbox"],
  ];
  const width = Math.max(...tries.map(([command]) => command.length));
  return [
    "",
    `  ${name}   ${source}  ──▶  ${target}   lsyncd ${version}, Debian ${release}`,
    `  deployed      ${changes}`,
    `  mirrored      ${arrived.database} with ${arrived.rows} ${arrived.rows === 1 ? "row" : "rows"}: the newest arrived ${seconds} s after its commit`,
    "",
    "What to try next:",
    ...tries.map(([command, what]) => `  ${command.padEnd(width)}   ${what}`),
  ];
}

/** The last line of `npm start`. */
export const ending = (milliseconds: number): string => `Done in ${Math.round(milliseconds / 1000)} s.`;
