import { asRoot, type HostCommand } from "../../infra/commands";
import type { HostSettings, Settings } from "../../infra/config";
import type { Connection } from "../../infra/connection";
import { runAsRoot } from "../../infra/lending";
import { eachHost } from "../fleet";

/** The result of waiting for one host: the exit code of lsyncd-wait, and the last line it printed. */
export interface Waited {
  host: string;
  code: number;
  seconds: number;
  lastLine: string;
}

/** The exit code if lsyncd-wait could not run. */
const unreachable = 2;

/** The command that waits on one host, with a time limit in seconds. */
export function waitCommand(host: HostSettings, seconds: number): HostCommand {
  const { command, stdin } = asRoot(host, "wait", 'exec /usr/local/sbin/lsyncd-wait "$@"\n');
  return { create: command("--timeout", String(seconds)), stdin };
}

/** Waits on all hosts at once, over one connection each. */
export async function waitFleet(settings: Settings, seconds: number): Promise<Waited[]> {
  return eachHost(settings, (host, connection) => waitOn(host, connection, seconds));
}

async function waitOn(host: HostSettings, connection: Connection, seconds: number): Promise<Waited> {
  const began = performance.now();
  const ended = (code: number, output: string): Waited => ({
    ...{ host: host.name, code, seconds: (performance.now() - began) / 1000 },
    lastLine: output.trim().split("\n").at(-1)?.slice(0, 400) ?? "",
  });
  try {
    const { create, stdin } = waitCommand(host, seconds);
    const { code, stdout, stderr } = await runAsRoot(host, connection, { create, stdin });
    return ended([0, 1, 3].includes(code) ? code : unreachable, `${stdout}\n${stderr}`);
  } catch (error) {
    return ended(unreachable, `not checked: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** A line for each host. */
export function waitText(all: Waited[]): string {
  return all
    .map(({ host, code, seconds, lastLine }) =>
      code === 0
        ? `${host}: mirrored after ${seconds.toFixed(1)} s`
        : `${host}: ${lastLine.replace(/^lsyncd-wait: /, "")}`,
    )
    .join("\n");
}

/** The exit code: unreachable hosts take precedence, then held mirrors, then timeouts. */
export function waitExit(all: Waited[]): number {
  return [unreachable, 3, 1].find((code) => all.some((one) => one.code === code)) ?? 0;
}
