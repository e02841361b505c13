import type { Client } from "ssh2";

/**
 * Sends TERM to the process group of every command of the same connection but itself. They are children of the one
 * process that serves the connection on the host, and each leads a group of its own.
 */
export const TERMINATE =
  'grep -l "^PPid:[[:space:]]*$PPID\\$" /proc/[0-9]*/status 2>/dev/null | while read -r status; do ' +
  'pid=${status#/proc/}; pid=${pid%/status}; [ "$pid" = $$ ] || kill -TERM -- "-$pid"; done';

/**
 * Asks the commands running over this connection to end. SSH has a message for it, but OpenSSH does not take it for
 * root, so it takes one more command. It can't reach what runs under sudo for another user.
 */
export function terminate(client: Client): void {
  try {
    client.exec(TERMINATE, (error, channel) => {
      if (error !== undefined) return;
      channel.on("error", () => undefined);
      channel.resume().end();
    });
  } catch {
    // The connection is gone. A caller that waits for the command to end notices that.
  }
}
