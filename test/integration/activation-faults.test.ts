import { boot, kill, reset } from "../../tools/sandbox";
import { faultsOf, installed } from "../support/activation";
import { Cutter, killEngine } from "../support/cutter";
import { failed, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, processes, row } from "../support/faults";

jest.setTimeout(600_000);

// Everything that can interrupt a deployment. With TORTURE=1 at many more points.
const torture = process.env.TORTURE === "1";

let d: Deployment;
let cutter: Cutter;
let delay = 1;

/** Another deployment than the one in force: it changes what lsyncd runs with and what it does not. */
async function change(): Promise<void> {
  delay += 1;
  await d.stack.configure([cutter.through], { delay, alertRecipients: `ops${delay}@example.com` });
}

const lost = async () => missingFrom(await files(d.host, d.host.target), await files(d.host, d.host.source));

/** Whether the host runs the old deployment whole, the new one whole, or no lsyncd: never a mix. */
async function neverAMix(before: string): Promise<() => Promise<void>> {
  const runs = (await processes(d.host)) !== "";
  const now = await installed(d.host);
  return async () => {
    const after = await installed(d.host);
    if (runs) expect([before, after]).toContain(now);
  };
}

/** Deploys after an interruption, and checks that all is whole and nothing was lost. */
async function completes(): Promise<void> {
  cutter.mend();
  await d.stack.pulumi(["cancel", "--yes"], { allowFailure: true });
  succeeded(await d.stack.up());
  expect(await faultsOf(d.host)).toBe("");
  expect(await on(d.host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain(`= ${delay},`);
  await mirrors(d.host);
  await identical(d.host);
}

beforeAll(async () => {
  d = await prepare("activation");
  cutter = await Cutter.before(d.host);
  await fill(d.host, 150);
});
afterAll(async () => {
  cutter.close();
  await d.remove();
});

/** Connections and bytes that a whole deployment takes, seen at the first. */
let whole = { connections: 24, bytes: 150_000 };

describe("a first deployment", () => {
  it("that is cut off is completed by the next", async () => {
    await change();
    // In the step that installs packages.
    cutter.cut = ({ connection }) => connection === 3;
    failed(await d.stack.up());
    await completes();
    await row({
      injected: "Connection cut in the first deployment, after the packages",
      happened: "the next `up` completed it",
      lost: await lost(),
    });
  });

  it("is repeated without any change", async () => {
    expect(succeeded(await d.stack.up([]))).not.toMatch(/\d+ (created|updated|deleted|replaced)/);
  });
});

describe("a change", () => {
  it("is made through the cutter", async () => {
    await change();
    cutter.mend();
    succeeded(await d.stack.up());
    whole = { connections: cutter.connections, bytes: cutter.bytes };
    expect(await faultsOf(d.host)).toBe("");
  });

  // Of the bytes that a change takes, in percent.
  it.each(torture ? [5, 15, 25, 35, 45, 55, 65, 75, 85, 90, 95, 99] : [30, 70, 97])(
    "whose connection is cut after %i percent of its bytes is completed by the next `up`",
    async (percent) => {
      await change();
      cutter.mend();
      const before = await installed(d.host);
      cutter.cut = ({ bytes }) => bytes >= (whole.bytes * percent) / 100;
      failed(await d.stack.up());
      const check = await neverAMix(before);
      await completes();
      await check();
      await row({
        injected: `Connection cut after ${percent} % of the bytes of a change`,
        happened: "old or new in force, the next `up` completed it",
        lost: await lost(),
      });
    },
  );

  it.each(torture ? [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1] : [0.5, 1])(
    "whose engine is killed at %d of its connections is completed by the next `up`",
    async (part) => {
      await change();
      cutter.mend();
      const before = await installed(d.host);
      const last = Math.max(1, Math.round(whole.connections * part));
      let killing: Promise<number> | undefined;
      cutter.cut = ({ connection }) => {
        if (connection >= last) killing ??= killEngine(d.directory);
        return false;
      };
      failed(await d.stack.up());
      expect(await killing).toBeGreaterThan(1);
      const check = await neverAMix(before);
      await completes();
      await check();
      await row({
        injected: `Engine killed (SIGKILL) at connection ${last} of ${whole.connections}`,
        happened: "the host's step ran to its end; `pulumi cancel` and `up` completed the rest",
        lost: await lost(),
      });
    },
  );

  it.each(torture ? [0, 100, 200, 300, 400, 600, 800, 1000, 1300, 1600, 2000] : [250, 900])(
    "whose host dies %i ms into the activation is completed by the next `up`",
    async (milliseconds) => {
      await change();
      cutter.mend();
      const before = await installed(d.host);
      const up = d.stack.up();
      await on(
        d.host,
        `for i in $(seq 3000); do [ ! -e /var/lib/lsyncd-as-code/transaction ] || break; sleep 0.02; done; sleep ${milliseconds / 1000}`,
      );
      await kill(d.host);
      const { code } = await up;
      await boot(d.host);
      await new Promise((resolve) => setTimeout(resolve, 7_000));
      const check = await neverAMix(before);
      await completes();
      await check();
      await row({
        injected: `Host killed ${milliseconds} ms into the activation`,
        happened: `old, new or nothing ran after the boot (\`up\` ${code === 0 ? "had just ended" : "failed"}); the next \`up\` completed it`,
        lost: await lost(),
      });
    },
  );
});

describe("a deployment that does not work", () => {
  /** Deploys, expects a failure, and that the host runs what it ran before. */
  async function rolledBack(): Promise<string> {
    cutter.mend();
    const before = await installed(d.host);
    const text = failed(await d.stack.up());
    expect(await installed(d.host)).toBe(before);
    expect(await faultsOf(d.host)).toBe("");
    await mirrors(d.host);
    await identical(d.host);
    return text;
  }

  it("because rsync refuses an option is undone, with the journal's lines", async () => {
    delay += 1;
    await d.stack.configure([cutter.through], { delay, rsyncOptions: ["--delete", "--no-such-option"] });
    const text = await rolledBack();
    expect(text).toContain("lsyncd did not keep running");
    expect(text).toContain("--no-such-option: unknown option");
    expect(text).toContain("sqlite-1 runs again what it ran before");
    await change();
    await completes();
    await row({
      injected: "A setting that rsync refuses",
      happened: "undone, with rsync's words; the old deployment ran on",
      lost: await lost(),
    });
  });

  it("because a staged file was damaged changes nothing, and is sent again as it says", async () => {
    await change();
    const path = `.lsyncd-as-code/staged/${d.host.name}/etc/lsyncd/lsyncd.conf.lua`;
    const damage = attempt(
      d.host,
      `for i in $(seq 3000); do if [ -e ${path} ]; then echo damaged >${path}; break; fi; sleep 0.01; done`,
    );
    const text = await rolledBack();
    await damage;
    expect(text).toContain("/etc/lsyncd/lsyncd.conf.lua did not arrive whole");
    expect(text).toContain("Nothing was changed on sqlite-1");
    succeeded(await d.stack.up(["--skip-preview", "--replace", "**-file-*"]));
    await completes();
    await row({
      injected: "A staged file damaged before its activation",
      happened: "refused before anything was changed; `--replace` sent it again",
      lost: await lost(),
    });
  });

  it("because the unit cannot start is undone", async () => {
    await on(d.host, "mkdir -p /etc/systemd/system/lsyncd.service.d");
    await change();
    await on(
      d.host,
      `printf '[Service]\\nExecStartPre=/bin/sh -c "! grep -q ops${delay}@ /etc/lsyncd/alerts.conf"\\n' >/etc/systemd/system/lsyncd.service.d/zz-test.conf`,
    );
    const text = await rolledBack();
    expect(text).toMatch(/Job for lsyncd.service failed|lsyncd did not keep running/);
    await on(d.host, "rm /etc/systemd/system/lsyncd.service.d/zz-test.conf && systemctl daemon-reload");
    await completes();
    await row({
      injected: "A unit that fails to start",
      happened: "undone; the old deployment ran on",
      lost: await lost(),
    });
  });
});

describe("two deployments at once", () => {
  it("from two stacks: one wins, the other is refused, nothing is mixed", async () => {
    await d.stack.configure([cutter.through]);
    succeeded(await d.stack.destroy());
    await reset(d.host);
    await fill(d.host, 150);
    const other = await d.otherStack("other");
    await other.configure([d.host], { delay: 9, alertRecipients: "other@example.com" });
    const both = await Promise.all([d.stack.up(), other.up()]);
    const codes = both.map(({ code }) => code);
    expect(codes.filter((code) => code === 0)).toHaveLength(1);
    const loser = both.find(({ code }) => code !== 0);
    expect(`${loser?.stdout}${loser?.stderr}`).toMatch(
      /This host was deployed by another stack, organization\/lsyncd\//,
    );
    expect(await faultsOf(d.host)).toBe("");
    const won = codes[0] === 0 ? "test" : "other";
    expect(await on(d.host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain(won === "test" ? "= 1," : "= 9,");
    expect(await on(d.host, "grep recipients= /etc/lsyncd/alerts.conf")).toContain(
      won === "test" ? "security@forwardemail.net" : "other@example.com",
    );
    await mirrors(d.host);
    await identical(d.host);
    await row({
      injected: "Two deployments of one host at once, from two stacks",
      happened: "one in force, the other refused",
      lost: await lost(),
    });
  });
});
