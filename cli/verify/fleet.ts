import { asRoot, type HostCommand } from "../../infra/commands";
import type { HostSettings, Settings } from "../../infra/config";
import type { Connection } from "../../infra/connection";
import { runAsRoot } from "../../infra/lending";
import { eachHost } from "../fleet";
import { readReport, type HostReport } from "./report";

/** How thoroughly to verify; see `lsyncd-verify` on a host. */
export interface VerifyOptions {
  /** Compares contents, not only sizes and times. */
  checksum?: boolean;
  /** `PRAGMA integrity_check` instead of `quick_check`. */
  full?: boolean;
  /** Seconds below which a difference is the mirror's normal delay; 60 by default. */
  maxAge?: number;
}

/** The command that verifies one host. */
export function verifyCommand(host: HostSettings, { checksum, full, maxAge }: VerifyOptions): HostCommand {
  const { command, stdin } = asRoot(host, "verify", 'exec /usr/local/sbin/lsyncd-verify "$@"\n');
  const options = [
    ...(checksum ? ["--checksum"] : []),
    ...(full ? ["--full"] : []),
    ...(maxAge === undefined ? [] : [`--max-age=${String(maxAge)}`]),
  ];
  return { create: command(...options), stdin };
}

/** Verifies all hosts at once, over one connection each. An unreachable host gets a report like the others. */
export async function verifyFleet(settings: Settings, options: VerifyOptions = {}): Promise<HostReport[]> {
  return eachHost(settings, (host, connection) => verifyHost(host, connection, options));
}

async function verifyHost(host: HostSettings, connection: Connection, options: VerifyOptions): Promise<HostReport> {
  const began = performance.now();
  const seconds = (): number => (performance.now() - began) / 1000;
  try {
    const { create, stdin } = verifyCommand(host, options);
    const finished = await runAsRoot(host, connection, { create, stdin });
    return readReport(host.name, seconds(), finished);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const reason = `${connection.host} port ${connection.port}: ${why}`;
    return { host: host.name, result: "not checked", seconds: seconds(), reason, findings: [] };
  }
}
