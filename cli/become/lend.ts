import { lend as lendCommand } from "../../infra/commands";
import { startRemote, type RemoteCommand } from "../../infra/ssh";
import { visible } from "../../infra/text";
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

// Characters: more than sudo and a lender have to say.
const mostSaid = 100_000;

/** A loan, and whether sudo asked for the password. */
interface Loan extends RemoteCommand {
  asked: boolean;
}

async function lendTo({ name, connection, digests }: Borrower, password: string): Promise<Loan> {
  const { command, stdin } = lendCommand({ name, user: connection.user }, password, digests);
  const remote = await startRemote(connection, command);
  const { channel, drop } = remote;
  // Not ended: what holds the rights ends with its input.
  channel.write(stdin);
  try {
    const asked = await new Promise<boolean>((resolve, reject) => {
      let said = "";
      const onText = (text: string): void => {
        said += text;
        if (said.length > mostSaid) reject(new Error("it printed without end"));
        if (/^ready$/m.test(said)) resolve(/^password asked: true$/m.test(said));
      };
      channel.setEncoding("utf8").on("data", onText);
      channel.stderr.setEncoding("utf8").on("data", onText);
      channel.on("close", () => {
        reject(new Error(visible(said.trim()) || "it closed the connection"));
      });
      setTimeout(() => {
        reject(new Error(`no answer within ${patience} s`));
      }, patience * 1000).unref();
    });
    return { ...remote, asked };
  } catch (error) {
    drop();
    throw error;
  }
}

/**
 * Lends root's rights to all borrowers. They are asked one after the other until one has taken the password, then all
 * at once: one that refuses it first is an error, and no other host sees it. So a mistyped password is tried once, and
 * does not lock an account that hosts share.
 */
export async function lendToAll(borrowers: Borrower[], password: string): Promise<Loans> {
  const open: Loan[] = [];
  const faults: string[] = [];
  const end = (): void => {
    for (const { channel, close } of open) {
      channel.on("close", close);
      channel.end();
      // A host that does not close its side in a second is left.
      setTimeout(close, 1000).unref();
    }
  };
  const attempt = async (borrower: Borrower): Promise<boolean> => {
    try {
      const loan = await lendTo(borrower, password);
      open.push(loan);
      return loan.asked;
    } catch (error) {
      faults.push(`${borrower.name}: ${(error as Error).message}`);
      return false;
    }
  };
  const waiting = [...borrowers];
  for (let next = waiting.shift(); next !== undefined && !(await attempt(next)); next = waiting.shift()) {
    const refusal = faults.find((fault) => fault.includes("refuses the password"));
    if (refusal !== undefined) {
      end();
      throw new Error(refusal);
    }
  }
  await Promise.all(waiting.map(attempt));
  return { faults, end };
}
