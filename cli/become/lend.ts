import { lendOn, prepareLoan, type Loan } from "../../infra/lending";
import type { Borrower } from "./borrowers";

/** Root's rights that are lent to hosts for one run. */
export interface Loans {
  /** Hosts without them, and why. */
  faults: string[];
  /** Revokes all of them. */
  end: () => void;
}

/**
 * Lends root's rights to all borrowers. Hosts with the same password are tried one after the other until one accepts it, then
 * all at once. If the first refuses it, that is an error, and no other host receives it: a mistyped password is tried once,
 * and does not lock an account that hosts share.
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
