import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execOn, quote, type SandboxHost } from "../sandbox";

/** The databases that the application of a sandbox host keeps open: see application.pl. */
export const databases = [
  "accounts.sqlite",
  "mail/customer-1.sqlite",
  "mail/customer-2.sqlite",
  "mail/customer-3.sqlite",
  "mail/customer-4.sqlite",
  "queue/outgoing.db",
];

const program = "/usr/local/lib/application/application";
/** The log of the application's commits: outside of both volumes, so it outlives them. */
const log = "/var/lib/application/committed";
/** The file that names the application's storage, as in the documentation. */
export const environmentFile = "/srv/application/.env";

const unit = `[Unit]
Description=Writes mails and keeps SQLite databases open, as the application of this host does

[Service]
EnvironmentFile=${environmentFile}
ExecStart=${program} ${log}
KillMode=mixed
TimeoutStopSec=15
`;

/** Installs the application on a host without starting it. */
export async function installApplication(host: SandboxHost): Promise<void> {
  const input = readFileSync(join(__dirname, "application.pl"), "utf8");
  await execOn(host, `install -D -m 755 /dev/stdin ${program}; mkdir -p ${log.replace(/\/[^/]*$/, "")}`, { input });
  await execOn(host, `cat >/etc/systemd/system/application.service && systemctl daemon-reload`, { input: unit });
  await execOn(host, `install -D -m 644 /dev/stdin ${environmentFile}`, {
    input: `SQLITE_STORAGE_PATH=${host.source}\n`,
  });
}

/** A transaction whose commit SQLite confirmed to the application. */
export interface Committed {
  /** Its number in its database. */
  n: number;
  /** Seconds since 1970. */
  time: number;
}

/** The newest confirmed transaction of each database. */
export async function committed(host: SandboxHost): Promise<Map<string, Committed>> {
  const { stdout } = await execOn(
    host,
    `awk '!/^#/ { last[$2] = $1 " " $2 " " $3 } END { for (p in last) print last[p] }' ${log}`,
  );
  return new Map(
    stdout
      .trim()
      .split("\n")
      .filter((line) => line !== "")
      .map((line): [string, Committed] => {
        const [time, path = "", n] = line.split(" ");
        return [path, { n: Number(n), time: Number(time) }];
      }),
  );
}

/** The content of a database. */
export interface Content {
  path: string;
  /** Its fault; undefined if it opens, is sound, and is in a committed state. */
  fault?: string;
  /** The newest transaction. */
  n: number;
  /** When that was committed, in seconds since 1970. */
  time: number;
  /** The checksum over all transactions. */
  sum: string;
}

// Every transaction leaves a mail, a link of the chain and a change: they agree in a state that was committed.
const question = `
SELECT coalesce((SELECT n || ' ' || printf('%.3f', time) || ' ' || sum FROM chain ORDER BY n DESC LIMIT 1), '0 0 -');
SELECT 'chain broken at ' || min(n) FROM (
  SELECT n, sum, hex(sha3(coalesce(lag(chain.sum) OVER (ORDER BY n), '') || n || body, 256)) AS right
  FROM chain LEFT JOIN mail USING (n)) WHERE sum IS NOT right HAVING count(*) > 0;
SELECT 'it has other mails than links of the chain' WHERE (SELECT count(*) FROM mail) <> (SELECT coalesce(max(n), 0) FROM chain);
SELECT 'it has other changes than transactions' WHERE (SELECT coalesce(sum(changes), 0) FROM box) <> 8 * (SELECT count(*) FROM mail);
SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok';`;

/**
 * Opens the application's databases below a directory of the host and returns the content of each. They are opened as by an
 * application, so this must not be done to a mirror that lsyncd works on: copy it first.
 */
export async function inspect(host: SandboxHost, directory: string): Promise<Content[]> {
  const script = `cd ${quote(directory)} && for path in ${databases.join(" ")}; do
    printf '== %s\\n' "$path"
    if [ -e "$path" ]; then printf '%s' ${quote(question)} | timeout 60 sqlite3 -batch -init /dev/null "$path" 2>&1; else echo missing; fi
  done`;
  return readContents((await execOn(host, script)).stdout);
}

/** Parses the output of the queries to each database. */
export function readContents(text: string): Content[] {
  return text
    .split(/^== /m)
    .slice(1)
    .map((part) => {
      const [path = "", first = "", ...rest] = part.trimEnd().split("\n");
      const [, n, time, sum] = /^(\d+) ([\d.]+) (\S+)$/.exec(first) ?? [];
      if (sum === undefined) return { path, fault: [first, ...rest].join("; ") || "no answer", n: 0, time: 0, sum: "" };
      const content = { path, n: Number(n), time: Number(time), sum };
      return rest.length > 0 ? { ...content, fault: rest.join("; ") } : content;
    });
}

/** The checksum that each database of a directory had after some transaction, by path; empty where it has none. */
export async function sumsAt(
  host: SandboxHost,
  directory: string,
  at: Map<string, number>,
): Promise<Map<string, string>> {
  const ask = [...at].map(
    ([path, n]) =>
      `printf '%s ' ${quote(path)}; sqlite3 -batch -init /dev/null ${quote(`${directory}/${path}`)} '.timeout 10000' 'SELECT sum FROM chain WHERE n = ${String(n)}'; echo`,
  );
  const { stdout } = await execOn(host, ask.join("\n"));
  const lines = stdout.split("\n").filter((line) => line !== "");
  return new Map(lines.map((line): [string, string] => [line.split(" ")[0] ?? "", line.split(" ")[1] ?? ""]));
}
