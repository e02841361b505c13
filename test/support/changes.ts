import { faultsOf, installed } from "./activation";
import { Cutter, killEngine } from "./cutter";
import type { Finished } from "../../toolchain/run";
import { eventually, failed, on, prepare, succeeded, type Deployment } from "./deployment";
import { attempt, files, fill, identical, mirrors, missingFrom, processes } from "./faults";

/** Interrupted or failing deployments of one host, with the checks that follow. */
export class Changes {
  private delay = 1;

  private constructor(
    readonly d: Deployment,
    readonly cutter: Cutter,
  ) {}

  /** A host with data on it, reached through a cutter, and nothing deployed yet. */
  static async prepare(purpose: string): Promise<Changes> {
    const d = await prepare(purpose);
    await fill(d.host, 150);
    return new Changes(d, await Cutter.before(d.host));
  }

  async remove(): Promise<void> {
    this.cutter.close();
    await this.d.remove();
  }

  /** Sets another deployment than the current one: it changes settings that lsyncd reads and others. */
  async change(extra: Record<string, unknown> = {}): Promise<void> {
    this.delay += 1;
    const settings = { delay: this.delay, alertRecipients: this.recipient, ...extra };
    await this.d.stack.configure([this.cutter.through], settings);
  }

  /** The recipient of mails of the last deployment that was set. */
  get recipient(): string {
    return `ops${this.delay}@example.com`;
  }

  /** Files that are missing from the mirror or differ there. */
  async lost(): Promise<number> {
    const { host } = this.d;
    return missingFrom(await files(host, host.target), await files(host, host.source));
  }

  /**
   * Looks at the host after an interruption; what is returned checks, once the new deployment is in force, that it ran
   * the old one whole, the new one whole, or no lsyncd.
   */
  async neverAMix(before: string): Promise<() => Promise<void>> {
    const runs = (await processes(this.d.host)) !== "";
    const now = await installed(this.d.host);
    return async () => {
      const after = await installed(this.d.host);
      if (runs) expect([before, after]).toContain(now);
    };
  }

  /** Cuts off a change; the next deployment completes it, and no mixed state occurs in between. */
  async cutOff(cut: Cutter["cut"]): Promise<void> {
    await this.change();
    this.cutter.restore();
    const before = await installed(this.d.host);
    this.cutter.cut = cut;
    failed(await this.d.stack.up());
    const check = await this.neverAMix(before);
    await this.completes();
    await check();
  }

  /** Kills the engine when a change opens the connection with this number; otherwise the same. */
  async engineKilledAt(last: number): Promise<void> {
    let killing: Promise<number> | undefined;
    await this.cutOff(({ connection }) => {
      if (connection >= last) killing ??= killEngine(this.d.directory);
      return false;
    });
    expect(await killing).toBeGreaterThan(1);
  }

  /** Makes swaps on the host stop half way, with some files new and some old, when `halfWay` asks for it. */
  async hangInSwaps(): Promise<void> {
    await on(
      this.d.host,
      `printf '#!/bin/sh\\ncase "$*" in *" /etc/lsyncd/lsyncd.conf.lua") [ ! -e /run/hang ] || { touch /run/hung; sleep 1000; } ;; esac\\nexec /usr/bin/mv "$@"\\n' >/usr/local/bin/mv && chmod +x /usr/local/bin/mv`,
    );
  }

  /** Starts a deployment that stops half way through its swap, and returns it with the state before. */
  async halfWay(): Promise<{ before: string; up: Promise<Finished> }> {
    const { host, stack } = this.d;
    await this.change();
    this.cutter.restore();
    const before = await installed(host);
    await on(host, "rm -f /run/hung; touch /run/hang");
    const up = stack.up();
    await eventually(async () => (await attempt(host, "test -e /run/hung")).code === 0, 60);
    expect(await installed(host)).not.toBe(before);
    return { before, up };
  }

  /** Deploys, expects a failure, and checks that the host is as before. Returns the output. */
  async unchanged(stack = this.d.stack): Promise<string> {
    this.cutter.restore();
    const before = await installed(this.d.host);
    const text = failed(await stack.up());
    expect(await installed(this.d.host)).toBe(before);
    expect(await faultsOf(this.d.host)).toBe("");
    return text;
  }

  /** The same, and checks that the host mirrors. */
  async rolledBack(stack = this.d.stack): Promise<string> {
    const text = await this.unchanged(stack);
    await mirrors(this.d.host);
    await identical(this.d.host);
    return text;
  }

  /** Deploys after an interruption, and checks that everything is complete and nothing was lost. */
  async completes(): Promise<void> {
    const { host, stack } = this.d;
    this.cutter.restore();
    await stack.pulumi(["cancel", "--yes"], { allowFailure: true });
    succeeded(await stack.up());
    expect(await faultsOf(host)).toBe("");
    expect(await on(host, "grep delay /etc/lsyncd/lsyncd.conf.lua")).toContain(`= ${this.delay},`);
    await mirrors(host);
    await identical(host);
  }
}
