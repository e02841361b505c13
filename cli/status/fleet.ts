import { status as statusCommand } from "../../infra/commands";
import type { HostSettings, Settings } from "../../infra/config";
import type { Connection } from "../../infra/connection";
import { runAsRoot } from "../../infra/lending";
import { inTime, NoLogin, Unreachable } from "../../infra/ssh";
import { eachHost } from "../fleet";
import { readStatus, unknownStatus } from "./read";
import type { HostStatus } from "./schema";

/** Time limit for one host in seconds, including the connection. */
const timeout = 25;

/**
 * Asks all hosts at once, over one connection each. A host that is unreachable or does not answer in time is a row like
 * the others.
 */
export async function fleetStatus(settings: Settings, seconds = timeout): Promise<HostStatus[]> {
  return eachHost(settings, (host, connection) => hostStatus(host, connection, seconds));
}

async function hostStatus(host: HostSettings, connection: Connection, seconds: number): Promise<HostStatus> {
  const { create, stdin } = statusCommand(host);
  try {
    // The limit covers everything: reaching the bastion, reaching the host, and its answer.
    const asked = runAsRoot(host, connection, { create, stdin }, seconds);
    const late = (): Error => new Error(`no answer within ${seconds} s`);
    const { code, stdout, stderr } = await inTime(seconds, asked, late);
    if (code !== 0) return unknownStatus(host, `${stdout}\n${stderr}`.trim().split("\n").slice(-1).join(""));
    return readStatus(host, stdout);
  } catch (error) {
    const { message } = error as Error;
    const reached = !(error instanceof Unreachable) || error instanceof NoLogin;
    return unknownStatus(host, reached ? message : `cannot be reached: ${message}`);
  }
}
