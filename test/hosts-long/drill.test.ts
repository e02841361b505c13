import { accountText, type Account } from "../../tools/drill/account";
import { drill } from "../../tools/drill/drill";
import { readDrillPages, readSteps, type Way } from "../../tools/drill/page";
import type { Stack } from "../../tools/stack";
import { row } from "../support/faults";
import { prepare, succeeded, type Deployment } from "../support/deployment";

jest.setTimeout(300_000);

let d: Deployment;
let stacks: Stack[];

beforeAll(async () => {
  d = await prepare("drill", { hosts: 2 });
  stacks = [d.stack, await d.otherStack("second")];
  await Promise.all(
    d.hosts.map(async (host, index) => {
      await stacks[index]?.configure([host]);
      const deployed = await stacks[index]?.up();
      if (deployed) succeeded(deployed);
    }),
  );
});
afterAll(async () => {
  await d.remove();
});

/** Runs the page on one of the hosts; throws if a step fails or data is lost. */
async function drilled(index: number, way: Way, failure: "disk" | "host"): Promise<Account> {
  const [host, stack] = [d.hosts[index], stacks[index]];
  if (!host || !stack) throw new Error("there is no such host");
  return drill({ host, stack, way, failure });
}

function expectAll(account: Account, way: Way): void {
  const typed = account.steps.filter(({ where, seconds }) => where !== "" && seconds !== undefined);
  expect(typed.length).toBe(readSteps(readDrillPages(), way).filter(({ kind }) => kind === "command").length);
  expect(account.losses).toHaveLength(6);
  for (const { seconds } of account.losses) expect(seconds).toBeLessThan(15);
  expect(account.recoverySeconds).toBeLessThan(60);
  expect(accountText(account)).toMatch(/^recovery point {2}\d+\.\d s/m);
  expect(accountText(account)).toMatch(/^recovery time {3}\d+\.\d s/m);
}

/** Adds a row to the table of faults: the drill has thrown if the mirror lost anything. */
const record = (injected: string, { losses, recoverySeconds }: Account): Promise<void> =>
  row({
    injected,
    happened: `the application ran again after ${recoverySeconds.toFixed(0)} s; at most the last ${Math.max(...losses.map(({ seconds }) => seconds)).toFixed(1)} s of its databases had not reached the mirror`,
    lost: 0,
  });

describe("the pages on disaster recovery, command by command", () => {
  it("recover from a disk that failed under load to a new primary, and lose nothing that the mirror held", async () => {
    const account = await drilled(0, "restore", "disk");
    expectAll(account, "restore");
    expect(account.returnSeconds).toBeLessThan(60);
    await record("The primary's disk fails under load; docs/disaster-recovery.md followed to a new primary", account);
  });

  it("recover from a dead host without its primary to one whose mirror becomes the primary", async () => {
    const account = await drilled(1, "reverse", "host");
    expectAll(account, "reverse");
    await record(
      "The host dies and its primary with it; docs/disaster-recovery.md followed, the mirror stays the primary",
      account,
    );
  });
});
