import { lendOn, prepareLoan, type Loan } from "../../infra/lending";
import type { Borrower } from "./borrowers";

/** Root's rights that are lent for one run. */
export interface Loans {
  /** Hosts that have none, and why. */
  faults: string[];
  /** Takes all of them back. */
  end: () => void;
}

/**
 * Lends root's rights to all borrowers. Those with one password are asked one after the other until one has taken it, then
 * all at once: one that refuses it first is an error, and no other host sees it. So a mistyped password is tried once, and
 * does not lock an account that hosts share.
 */
export async function lendToAll(borrowers: Borrower[]): Promise<Loans> {
  const open: Loan[] = [];
  const faults: string[] = [];
  const end = (): void => {
    for (const loan of open) loan.end();
  };
  const attempt = async (borrower: Borrower): Promise<boolean> => {
    try {
      const loan = await lendOn(await prepareLoan(borrower), borrower, borrower.password);
      open.push(loan);
      return loan.asked;
    } catch (error) {
      faults.push(`${borrower.name}: ${(error as Error).message}`);
      return false;
    }
  };
  for (const password of new Set(borrowers.map((borrower) => borrower.password))) {
    const waiting = borrowers.filter((borrower) => borrower.password === password);
    for (let next = waiting.shift(); next !== undefined && !(await attempt(next)); next = waiting.shift()) {
      const refusal = faults.find((fault) => fault.includes("refuses the password"));
      if (refusal !== undefined) {
        end();
        throw new Error(refusal);
      }
    }
    await Promise.all(waiting.map(attempt));
  }
  return { faults, end };
}
