import * as pulumi from "@pulumi/pulumi";
import type { HostCommand } from "./commands";
import type { Connection } from "./connection";
import { runRemote, Unreachable } from "./ssh";

/**
 * Runs the preflight during a preview, where resources run nothing. Findings fail the preview, those of all hosts
 * together; a host that cannot be reached is a warning, because a pull request's checks may have no way to it.
 */
export async function previewPreflight(
  name: string,
  connection: Connection,
  preflight: HostCommand,
  resource: pulumi.Resource,
): Promise<void> {
  try {
    const { code, stdout, stderr } = await runRemote(connection, preflight.create, preflight.stdin);
    const text = `${stdout}${stderr}`.trim();
    // Not caught by anyone: Pulumi shows it, goes on with the other hosts, and fails the preview at its end.
    if (code !== 0) throw new pulumi.RunError(text);
    if (text.includes("\n")) await pulumi.log.warn(text, resource);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    await pulumi.log.warn(`${name} could not be reached, its preflight was not run: ${error.message}`, resource);
  }
}

/**
 * Tells the host which refusals this very run passes over. A file there and not an input of a resource: a later run
 * without the variable must show no change. The preflight takes the file away.
 */
export async function leaveWaivers(name: string, connection: Connection, waivers: HostCommand): Promise<void> {
  try {
    await runRemote(connection, waivers.create, waivers.stdin);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    // The preflight itself will say that the host cannot be reached.
    await pulumi.log.warn(`${name}: ${error.message}`);
  }
}
