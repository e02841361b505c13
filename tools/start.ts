import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { execOn, sandboxUp, type SandboxHost } from "./sandbox";
import { Stack } from "./stack";
import { account, announcement, ending, type Arrival } from "./start/account";
import { ensureToolchain } from "../toolchain";

const root = resolve(__dirname, "..");
const database = "customers.sqlite";

const say = (line = ""): void => {
  console.log(line);
};

/** The settings that every sandbox shares. */
async function sandboxSettings(): Promise<Record<string, unknown>> {
  const { config } = parse(await readFile(join(root, "stacks", "Pulumi.sandbox.yaml"), "utf8")) as {
    config: Record<string, unknown>;
  };
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [key.replace(/^lsyncd:/, ""), value]));
}

/**
 * Writes a row into a database on the source and waits for it in the mirror. Returns the milliseconds between the
 * commit and the first moment a reader of the mirror sees the row, and the number of rows.
 */
async function rowArrives(host: SandboxHost): Promise<Arrival> {
  const script = `
    set -eu
    source=${host.source}/${database} target=${host.target}/${database}
    sqlite3 "$source" 'CREATE TABLE IF NOT EXISTS customer (id INTEGER PRIMARY KEY, mail TEXT);
      INSERT INTO customer (mail) VALUES ("customer-" || hex(randomblob(4)) || "@example.com");'
    rows=$(sqlite3 "$source" 'SELECT count(*) FROM customer')
    committed=$(date +%s%3N)
    for _ in $(seq 600); do
      if [ "$(sqlite3 -readonly "$target" 'SELECT count(*) FROM customer' 2>/dev/null)" = "$rows" ]; then
        sqlite3 -readonly "$target" 'PRAGMA integrity_check' >&2
        echo "$(($(date +%s%3N) - committed)) $rows"
        exit 0
      fi
      sleep 0.05
    done
    echo "the row did not arrive within 30 s" >&2
    exit 1`;
  const { stdout } = await execOn(host, script);
  const [milliseconds = NaN, rows = NaN] = stdout.trim().split(" ").map(Number);
  return { milliseconds, rows };
}

async function main(): Promise<void> {
  const began = Date.now();
  await ensureToolchain({ say });
  const sandbox = await sandboxUp({ name: "sandbox", hosts: 1, log: say });
  const [host] = sandbox.hosts;
  if (!host) throw new Error("the sandbox has no host");

  const stack = await new Stack({
    name: "sandbox",
    directory: join(root, ".pulumi"),
    env: overrides(),
  }).init();
  await stack.configure([host], await sandboxSettings());
  say(announcement(host.name));
  const { code, stdout, stderr } = await stack.pulumi(["up", "--yes", "--skip-preview"], { allowFailure: true });
  if (code !== 0) throw new Error(diagnostics(`${stdout}\n${stderr}`));

  const hosts = (await stack.outputs()).hosts as Record<string, { version: string }>;
  const arrived = { ...(await rowArrives(host)), database };
  for (const line of account(host, arrived, changes(stdout), hosts[host.name]?.version ?? "?")) say(line);
  say();
  say(ending(Date.now() - began));
}

/** Passes the documented environment variables to the program, as `pulumi up` does. */
function overrides(): Record<string, string> {
  const names = ["LSYNCD_SOURCE", "LSYNCD_TARGET", "MSMTP_RCPTS", "LSYNCD_SKIP_SAFETY"];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

/** A short summary of the changes that `pulumi up` reports. */
function changes(output: string): string {
  const lines = output.slice(output.indexOf("Resources:")).split("\n").slice(1);
  const counts = lines
    .map((line) => line.trim())
    .filter((line) => /^[+~-]?\s*\d+ (created|updated|deleted|replaced|unchanged)/.test(line));
  const changed = counts.filter((line) => !line.endsWith("unchanged"));
  return changed.length === 0 ? "nothing to change" : changed.map((line) => line.replace(/^[+~-]+\s*/, "")).join(", ");
}

/** The part of a failed run's output that explains the failure. */
function diagnostics(output: string): string {
  const start = output.indexOf("Diagnostics:");
  return (start < 0 ? output : output.slice(start)).trim();
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
