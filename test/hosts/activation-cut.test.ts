import { boot, kill } from "../../tools/sandbox";
import { faultsOf, installed } from "../support/activation";
import { Changes } from "../support/changes";
import { eventually, failed, on } from "../support/deployment";
import { attempt, identical, mirrors, row } from "../support/faults";
import { mailedAsSampled } from "../support/samples";

jest.setTimeout(400_000);

// One interruption of each kind; activation-interrupted has many more.

const state = "/var/lib/lsyncd-as-code";
const exists = async (path: string) => (await attempt(c.d.host, `test -e ${path}`)).code === 0;

let c: Changes;
let connections = 5;

beforeAll(async () => {
  c = await Changes.prepare("cut");
  await c.change();
  await c.completes();
  await c.change();
  await c.completes();
  connections = c.cutter.connections;
  await c.hangInSwaps();
});
afterAll(async () => {
  await c.remove();
});

/** The host runs everything it ran before the interruption, and mirrors. */
async function asBefore(before: string): Promise<void> {
  const { host } = c.d;
  await eventually(async () => !(await exists(`${state}/transaction`)));
  expect(await installed(host)).toBe(before);
  await mirrors(host);
  expect(await faultsOf(host)).toBe("");
  await identical(host);
}

describe("a deployment that is interrupted during the swap", () => {
  it("by a crash of the host: the host undoes it at boot, and sends an alert", async () => {
    const { host } = c.d;
    const { before, up } = await c.halfWay();
    await kill(host);
    failed(await up);
    await boot(host);
    await asBefore(before);
    const mail = await on(host, `cat ${state}/alerts/spool/*-undone.eml`);
    expect(mail).toMatch(
      /Subject: \[ALERT\] Lsyncd deployment undone on sqlite-1[^]*- a deployment was interrupted at /,
    );
    await mailedAsSampled("undone", Buffer.from(mail));
    await c.completes();
    await row({
      injected: "Host killed in the middle of the swap",
      happened: "the host undid it at boot and sent a mail; the old deployment mirrored; the next `up` completed it",
      lost: await c.lost(),
    });
  });

  it("by a kill -9 of the activation: the monitor starts the undo", async () => {
    const { host } = c.d;
    const { before, up } = await c.halfWay();
    expect((await attempt(host, "/usr/local/lib/lsyncd-as-code/lsyncd-guard")).output).toContain(
      "a deployment was interrupted half-way",
    );
    // While the activation runs, nothing undoes it.
    await on(host, "systemctl start lsyncd-undo");
    expect(await installed(host)).not.toBe(before);
    await on(host, "pkill -9 -f '[a]ctivate install'; pkill -9 -f '[s]leep 1000'; rm -f /run/hang");
    failed(await up);
    await attempt(host, "lsyncd-monitor.sh");
    await asBefore(before);
    await c.completes();
    await row({
      injected: "The activation killed (SIGKILL) in the middle of the swap",
      happened: "undone by the monitor; the next `up` completed it",
      lost: await c.lost(),
    });
  });
});

describe("a change", () => {
  it("whose connection is cut in the activation is completed by the next `up`", async () => {
    await c.cutOff(({ connection }) => connection >= connections);
    await row({
      injected: "Connection cut as the activation begins",
      happened: "the old or the new one was in force; the next `up` completed it",
      lost: await c.lost(),
    });
  });

  it("whose engine is killed is completed by the next `up`", async () => {
    await c.engineKilledAt(connections);
    await row({
      injected: "Engine killed (SIGKILL) in the activation",
      happened: "the host's step ran to its end; `pulumi cancel` and `up` completed the rest",
      lost: await c.lost(),
    });
  });

  it("that rsync refuses is undone, and the error shows the journal's lines", async () => {
    await c.change({ rsyncOptions: ["--delete", "--checksum-choice=nosuch"] });
    const text = await c.rolledBack();
    expect(text).toContain("lsyncd did not keep running");
    expect(text).toContain("nosuch");
    expect(text).toContain("sqlite-1 runs its previous deployment again");
    await c.change();
    await c.completes();
    await row({
      injected: "A setting that rsync refuses",
      happened: "undone, with rsync's error in the message; the old deployment kept running",
      lost: await c.lost(),
    });
  });
});
