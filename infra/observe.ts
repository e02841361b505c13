import * as pulumi from "@pulumi/pulumi";
import type { HostCommand } from "./commands";
import type { Connection } from "./connection";
import { runRemote, Unreachable } from "./ssh";

// Seconds that a preflight may take in a preview.
const limit = 120;

// What become.sh ends with when sudo asks for a password and there is none.
const noPassword = 125;

/**
 * Whether this is the preview of an update that goes on with the other hosts when one fails (`npm run up`): a failed
 * preview would keep it from beginning.
 */
const goesOn = (): boolean => process.env.LSYNCD_ONE_HOST_STOPS_NO_OTHER === "true";

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
  const notRun = (why: string): Promise<void> => pulumi.log.warn(`${name} ${why}`, resource);
  let result;
  try {
    result = await runRemote(connection, preflight.create, preflight.stdin, limit);
  } catch (error) {
    const { message } = error as Error;
    await notRun(
      error instanceof Unreachable
        ? `could not be reached, its preflight was not run: ${message}\nMore: docs/operations.md#a-host-cannot-be-reached`
        : `did not end its preflight: ${message}`,
    );
    return;
  }
  const text = `${result.stdout}${result.stderr}`.trim();
  if (result.code === noPassword) await notRun(`was not asked, its preflight was not run: ${text}`);
  // Not caught by anyone: Pulumi shows it, goes on with the other hosts, and fails the preview at its end.
  else if (result.code !== 0 && !goesOn()) throw new pulumi.RunError(text);
  else if (result.code !== 0 || text.includes("\n")) await pulumi.log.warn(text, resource);
}

/**
 * Tells the host which refusals this very run passes over. A file there and not an input of a resource: a later run
 * without the variable must show no change. The preflight takes the file away.
 */
export async function leaveWaivers(name: string, connection: Connection, waivers: HostCommand): Promise<void> {
  try {
    const { code, stdout, stderr } = await runRemote(connection, waivers.create, waivers.stdin, limit);
    const said = `${stdout}${stderr}`.trim();
    if (code !== 0 || said !== "") await pulumi.log.warn(`${name}: ${said}`);
  } catch (error) {
    // The preflight itself will say what is wrong with the host; the others go on.
    await pulumi.log.warn(`${name}: ${(error as Error).message}`);
  }
}
