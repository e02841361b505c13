/** What this project's own stand-in for the command plugin promises beyond what both do. Skipped when another one is in use. */
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { prepareSshd, type Sshd } from "../../tools/command-provider/testing/sshd";
import { type Resource, Stack } from "../../tools/command-provider/testing/stack";
import { run } from "../../tools/run";
import { findCommandPlugin } from "../../tools/toolchain/command-plugin";
import { homeOf } from "../../tools/toolchain/home";

jest.setTimeout(60_000);

const inUse = findCommandPlugin(homeOf(process.env), process.env)?.origin ?? "fallback";

(inUse === "fallback" ? describe : describe.skip)("the fallback for the command plugin", () => {
  const folder = mkdtempSync(join(tmpdir(), "fallback-"));
  const trace = join(folder, "trace");
  let sshd: Sshd;
  let stack: Stack;

  beforeAll(async () => {
    sshd = await prepareSshd(folder, ["127.0.0.25"]);
    await sshd.start();
    mkdirSync(join(folder, "stack"));
    stack = await Stack.create(join(folder, "stack"));
  });

  afterAll(async () => {
    await sshd.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  beforeEach(() => {
    rmSync(trace, { force: true });
  });

  /** Goes on until it is told to end, and then takes half a second to clean up. */
  const endless = `trap 'sleep 0.5; echo cleaned >>${trace}; exit 7' TERM; echo started >>${trace}; while :; do sleep 0.1; done`;

  function resource(args: Partial<Resource["args"]>, changes: Partial<Record<string, unknown>> = {}): Resource {
    const connection = {
      host: sshd.addresses[0],
      port: sshd.port,
      user: sshd.user,
      hostKey: sshd.hostKey,
      privateKey: sshd.privateKey,
      dialErrorLimit: 1,
      ...changes,
    };
    return { name: "command", args: { connection, ...args } as Resource["args"] };
  }

  function traced(): string[] {
    return existsSync(trace) ? readFileSync(trace, "utf8").trim().split("\n") : [];
  }

  /** Waits until the condition holds, at most so many seconds. */
  async function until(seconds: number, condition: () => boolean | Promise<boolean>): Promise<void> {
    const end = Date.now() + seconds * 1000;
    while (!(await condition())) {
      if (Date.now() > end) throw new Error(`not within ${seconds} s: ${condition.toString()}`);
      await sleep(100);
    }
  }

  async function providerOf(engine: number | undefined): Promise<number> {
    const found = await run("pgrep", ["-P", String(engine), "-f", "pulumi-resource-command"]);
    return Number(found.stdout.trim());
  }

  function isAlive(pid: number): boolean {
    return existsSync(`/proc/${pid}`);
  }

  test("an interrupted deployment ends the running command, which may clean up", async () => {
    const engine = await stack.begin([resource({ create: endless })]);
    const ended = once(engine, "exit");
    await until(20, () => traced().includes("started"));
    const provider = await providerOf(engine.pid);
    engine.kill("SIGINT");
    expect(await ended).not.toEqual([0, null]);
    expect(traced()).toEqual(["started", "cleaned"]);
    await until(5, () => !isAlive(provider));
    expect(stack.state("command")).toBeUndefined();
  });

  test("when the engine is killed, so is the command, and the provider ends", async () => {
    const engine = await stack.begin([resource({ create: endless })]);
    await until(20, () => traced().includes("started"));
    const provider = await providerOf(engine.pid);
    engine.kill("SIGKILL");
    await until(10, () => !isAlive(provider));
    expect(traced()).toEqual(["started", "cleaned"]);
    await stack.cancel();
  });

  test("customTimeouts end the command", async () => {
    const { stdout } = await stack.tryUp([
      { ...resource({ create: endless }), options: { customTimeouts: { create: "2s" } } },
    ]);
    expect(stdout).toContain("timed out after 2 s");
    expect(traced()).toEqual(["started", "cleaned"]);
  });

  test("a misspelt setting is named, and nothing of the connection is shown", async () => {
    const { code, stdout } = await stack.tryUp([resource({ create: "true" }, { hostkey: "x" })]);
    expect(code).not.toBe(0);
    expect(stdout).toContain("connection.hostkey is not a known input");
    expect(stdout).not.toContain(sshd.privateKey.split("\n")[1]);
  });

  test("it does not connect without a host key", async () => {
    const { code, stdout } = await stack.tryUp([resource({ create: "true" }, { hostKey: undefined })]);
    expect(code).not.toBe(0);
    expect(stdout).toContain("connection.hostKey is missing");
  });

  test("an agent that is gone does not matter when there is a private key, and is named when there is none", async () => {
    const agentSocketPath = join(folder, "no-agent");
    await stack.up([resource({ create: "true" }, { agentSocketPath })]);
    const without = resource({ create: "false" }, { agentSocketPath, privateKey: undefined });
    const { stdout } = await stack.tryUp([without]);
    expect(stdout).toContain("the ssh-agent does not answer");
  });
});
