import { boot, kill } from "../../tools/sandbox";
import { faultsOf, installed } from "../support/activation";
import { Changes } from "../support/changes";
import { failed, on, succeeded } from "../support/deployment";
import { row } from "../support/faults";

jest.setTimeout(600_000);

// Interruptions of a deployment. With TORTURE=1 at many more points.
const torture = process.env.TORTURE === "1";

let c: Changes;

beforeAll(async () => {
  c = await Changes.prepare("interrupted");
});
afterAll(async () => {
  await c.remove();
});

/** Connections and bytes of a complete deployment, measured at the first one. */
let whole = { connections: 24, bytes: 150_000 };

describe("a first deployment", () => {
  it("that is cut off is completed by the next", async () => {
    await c.change();
    // During the installation of packages.
    c.cutter.cut = ({ connection }) => connection === 3;
    failed(await c.d.stack.up());
    await c.completes();
    await row({
      injected: "Connection cut in the first deployment, after the packages",
      happened: "the next `up` completed it",
      lost: await c.lost(),
    });
  });

  it("changes nothing when it is repeated", async () => {
    expect(succeeded(await c.d.stack.up([]))).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  });
});

describe("a change", () => {
  it("is made through the cutter", async () => {
    await c.change();
    c.cutter.restore();
    succeeded(await c.d.stack.up());
    whole = { connections: c.cutter.connections, bytes: c.cutter.bytes };
    expect(await faultsOf(c.d.host)).toBe("");
  });

  // Percentages of a change's bytes.
  it.each(torture ? [5, 15, 25, 35, 45, 55, 65, 75, 85, 90, 95, 99] : [40, 97])(
    "whose connection is cut after %i percent of its bytes is completed by the next `up`",
    async (percent) => {
      await c.cutOff(({ bytes }) => bytes >= (whole.bytes * percent) / 100);
      await row({
        injected: `Connection cut after ${percent} % of the bytes of a change`,
        happened: "the old or the new one was in force; the next `up` completed it",
        lost: await c.lost(),
      });
    },
  );

  it.each(torture ? [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1] : [1])(
    "whose engine is killed at %d of its connections is completed by the next `up`",
    async (part) => {
      const last = Math.max(1, Math.round(whole.connections * part));
      await c.engineKilledAt(last);
      await row({
        injected: `Engine killed (SIGKILL) at connection ${last} of ${whole.connections}`,
        happened: "the host's step ran to its end; `pulumi cancel` and `up` completed the rest",
        lost: await c.lost(),
      });
    },
  );

  it.each(torture ? [0, 100, 200, 300, 400, 600, 800, 1000, 1300, 1600, 2000] : [400])(
    "whose host dies %i ms into the activation is completed by the next `up`",
    async (milliseconds) => {
      await c.change();
      c.cutter.restore();
      const before = await installed(c.d.host);
      const up = c.d.stack.up();
      await on(
        c.d.host,
        `for i in $(seq 3000); do [ ! -e /var/lib/lsyncd-as-code/transaction ] || break; sleep 0.02; done; sleep ${milliseconds / 1000}`,
      );
      await kill(c.d.host);
      const { code } = await up;
      await boot(c.d.host);
      await new Promise((resolve) => setTimeout(resolve, 7_000));
      const check = await c.neverAMix(before);
      await c.completes();
      await check();
      await row({
        injected: `Host killed ${milliseconds} ms into the activation`,
        happened: `old, new or nothing ran after the boot (\`up\` ${code === 0 ? "had just ended" : "failed"}); the next \`up\` completed it`,
        lost: await c.lost(),
      });
    },
  );
});
