import { paths } from "../../infra/paths";
import type { Finished } from "../../toolchain/run";
import { seeded, lossModes, type LossMode } from "../../tools/sandbox/vm/disk";
import { cutPower } from "../../tools/sandbox/vm/process";
import type { FileSystem } from "../../tools/sandbox/vm/types";
import { row } from "./faults";
import { prepareVm, testMs, type VmDeployment } from "./vm";

// The power of a virtual machine fails at a random moment of a deployment, of the begin of a failover, and of its end. Each moment is
// drawn from the whole time that the step takes when nothing disturbs it.

const source = "/mnt/storage_do_1";
const target = "/mnt/storage_do_2";
const kinds = ["a deployment", "the begin of a failover", "the end of a failover"] as const;
type Kind = (typeof kinds)[number];

/** The number of cuts of each kind, and the seed of the first one. */
const cuts = Number(process.env.VM_CUTS ?? 20);
const firstSeed = Number(process.env.VM_SEED ?? Date.now() % 1_000_000);

/** Cuts the power of a virtual machine in the middle of what an operator does, and has it completed each time. */
export function testCutSteps({ fileSystem }: { fileSystem: FileSystem }): void {
  jest.setTimeout(Math.max(testMs, cuts * 20 * 60_000));

  let d: VmDeployment;
  let kernel = "";
  /** How long each takes undisturbed, in milliseconds. */
  const lasts = new Map<Kind, number>();
  const interrupted = new Map<Kind, number>();
  let delay = 1;

  beforeAll(async () => {
    d = await prepareVm({ fileSystem });
    kernel = await d.on("uname -r");
    await d.on(`mkdir ${source}/mail && for i in $(seq 200); do echo "mail $i" >${source}/mail/$i; done; sync`);
    await d.deploy();
    await d.identical();
  });
  afterAll(async () => {
    await d.remove();
  });

  const contents = async (volume: string): Promise<string> =>
    d.on(
      `cd ${volume} && find . -name .lsyncd-as-code -prune -o -name lost+found -prune -o -name '.lsyncd-*' -prune -o -type f -exec sha256sum {} + | sort`,
    );

  const steps: Record<Kind, () => Promise<Finished>> = {
    "a deployment": () => d.stack.up(),
    "the begin of a failover": () => d.attempt("lsyncd-failover begin a test"),
    "the end of a failover": () => d.attempt("lsyncd-failover end --keep target"),
  };

  /** Prepares a step; returns the volume whose files must survive. */
  async function prepare(kind: Kind, number: number): Promise<string> {
    if (kind === "a deployment") {
      delay = delay === 1 ? 2 : 1;
      await d.stack.configure([d.host], { requireEncryption: true, delay });
      return source;
    }
    if (kind === "the begin of a failover") {
      await d.on(`echo ${String(number)} >${source}/mail/1; sync ${source}/mail/1`);
      await d.identical();
      return source;
    }
    // The mirror is in use: it has what the source lacks, and lacks what the source has.
    await d.on(
      `cd ${target}/mail && for i in $(seq 50 120); do echo "failover ${String(number)} $i" >$i; done; rm -f 7; echo again >new${String(number)}; sync -f .`,
    );
    return target;
  }

  async function undisturbed(kind: Kind): Promise<void> {
    await prepare(kind, 0);
    const began = Date.now();
    const { code } = await steps[kind]();
    expect([kind, code]).toEqual([kind, 0]);
    lasts.set(kind, Date.now() - began);
  }

  async function cut(kind: Kind, number: number, seed: number, mode: LossMode): Promise<void> {
    const chance = seeded(seed);
    const precious = await prepare(kind, number);
    await d.on(`sync -f ${source}; sync -f ${target}`);
    const before = await contents(precious);
    const wait = chance() * (lasts.get(kind) ?? 0);
    const said = `${kind}, ${String(Math.round(wait))} of ${String(lasts.get(kind))} ms (seed ${String(seed)}, ${mode})`;
    const progress = { done: false };
    const step = steps[kind]()
      .catch(() => undefined)
      .finally(() => {
        progress.done = true;
      });
    await new Promise((resolve) => setTimeout(resolve, wait));
    const complete = progress.done;
    if (!complete) interrupted.set(kind, (interrupted.get(kind) ?? 0) + 1);
    await cutPower(d.host, mode, seed);
    await step;
    await d.up();
    process.stderr.write(`${fileSystem}: ${said}, ${complete ? "complete" : "interrupted"}\n`);
    // All that was synced is there before an operator does anything.
    const after = await contents(precious);
    expect([said, after]).toEqual([said, before]);

    // The host undoes what was not complete, and the operator repeats the command.
    await d.undone();
    await d.until(`${said}: the repeated command succeeds`, async () => {
      const { code, stdout, stderr } = await again(kind);
      if (code !== 0) process.stderr.write(`${stdout}\n${stderr}\n`);
      return code === 0;
    });
    if (kind === "the begin of a failover") {
      expect([said, await d.on(`cat ${target}/mail/1`)]).toEqual([said, String(number)]);
      return;
    }
    expect([said, await contents(source)]).toEqual([said, before]);
    await d.identical();
    await d.mirrors();
  }

  /** The command once more; that what it does has been done already is no error. */
  async function again(kind: Kind): Promise<Finished> {
    if (kind === "a deployment") return steps[kind]();
    const begun = (await d.attempt(`test -e ${paths.failoverFile}`)).code === 0;
    if (begun === (kind === "the begin of a failover")) return { code: 0, stdout: "", stderr: "" };
    return steps[kind]();
  }

  it(`after each of ${String(cuts * kinds.length)} power cuts in a deployment and a failover, no file is lost and the command can be repeated (${fileSystem})`, async () => {
    for (const kind of kinds) await undisturbed(kind);
    await d.identical();
    for (let number = 0; number < cuts; number++)
      for (const [index, kind] of kinds.entries()) {
        const mode = lossModes[(number + index) % lossModes.length] ?? "drop";
        await cut(kind, number + 1, firstSeed + number * kinds.length + index, mode);
      }
    for (const kind of kinds)
      await row({
        injected: `Power cuts in ${kind} (kernel ${kernel}, ${fileSystem} on LUKS; of what was not flushed all, a part or nothing is lost): ${String(cuts)}, of which ${String(interrupted.get(kind) ?? 0)} interrupted it`,
        happened:
          "no synced file was lost, the host undid a deployment that was not complete, and the command, repeated, succeeded",
        lost: 0,
      });
  });
}
