import { lend as lendCommand } from "../../infra/commands";
import { startRemote, type RemoteCommand } from "../../infra/ssh";
import type { Borrower } from "./borrowers";

/** Root's rights that are lent for one run. */
export interface Loans {
  /** Hosts that have none, and why. */
  faults: string[];
  /** Takes all of them back. */
  end: () => void;
}

// Seconds that a host may take to answer after the login; sudo delays a wrong password by a few.
const patience = 30;

async function lendTo({ name, connection, digests }: Borrower, password: string): Promise<RemoteCommand> {
  const { command, stdin } = lendCommand({ name, user: connection.user }, password, digests);
  const remote = await startRemote(connection, command);
  const { channel, close } = remote;
  // Not ended: what holds the rights ends with its input.
  channel.write(stdin);
  try {
    await new Promise<void>((resolve, reject) => {
      let said = "";
      const onText = (text: string): void => {
        said += text;
        if (/^ready$/m.test(said)) resolve();
      };
      channel.setEncoding("utf8").on("data", onText);
      channel.stderr.setEncoding("utf8").on("data", onText);
      channel.on("close", () => {
        reject(new Error(said.trim() || "it closed the connection"));
      });
      setTimeout(() => {
        reject(new Error(`no answer within ${patience} s`));
      }, patience * 1000).unref();
    });
    return remote;
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Lends root's rights to all borrowers. The first one is asked alone: when it refuses the password, an error says so
 * and no other host sees it, so that a mistyped password does not lock an account that hosts share.
 */
export async function lendToAll([first, ...rest]: Borrower[], password: string): Promise<Loans> {
  const open: RemoteCommand[] = [];
  const faults: string[] = [];
  const attempt = async (borrower: Borrower): Promise<void> => {
    try {
      open.push(await lendTo(borrower, password));
    } catch (error) {
      faults.push(`${borrower.name}: ${(error as Error).message}`);
    }
  };
  if (first) await attempt(first);
  if (faults.some((fault) => fault.includes("refuses the password"))) throw new Error(faults.join("\n"));
  await Promise.all(rest.map(attempt));
  const end = (): void => {
    for (const { channel, close } of open) {
      channel.on("close", close);
      channel.end();
      // A host that does not close its side in a second is left.
      setTimeout(close, 1000);
    }
  };
  return { faults, end };
}
