/** The work of a host's SSH server for one run of a tool. */
export interface SshUse {
  connections: number;
  /** Commands, shells and subsystems that were started, all connections together. */
  sessions: number;
  /** Most connections that were open at the same time. */
  atOnce: number;
}

const from = String.raw`\S+ port (\d+)`;
const opened = new RegExp(`^Connection from ${from} on `);
const closed = new RegExp(
  `^(?:Disconnected from|Connection closed by|Connection reset by|Timeout before authentication for|Disconnecting)\\b.*? port (\\d+)`,
);

/**
 * Counts in the messages of an sshd with `LogLevel VERBOSE`, oldest first (OpenSSH 9: session.c, packet.c). A connection is known
 * by the client's port; one whose end is not in the log counts as open until the last line.
 */
export function readSshdLog(messages: string[]): SshUse {
  const open = new Set<string>();
  const use = { connections: 0, sessions: 0, atOnce: 0 };
  for (const message of messages) {
    const [, from] = opened.exec(message) ?? [];
    const [, gone] = closed.exec(message) ?? [];
    if (from !== undefined) {
      open.add(from);
      use.connections += 1;
      use.atOnce = Math.max(use.atOnce, open.size);
    } else if (gone !== undefined) open.delete(gone);
    else if (message.startsWith("Starting session: ")) use.sessions += 1;
  }
  return use;
}
