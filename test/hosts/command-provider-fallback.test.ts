/** Promises of this project's own stand-in for the command plugin, beyond those that both keep. Skipped when another one is in use. */
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectionTo, prepareSshd, type Sshd } from "../../toolchain/command-provider/testing/sshd";
import { type Resource, Stack } from "../../toolchain/command-provider/testing/stack";
import { run } from "../../toolchain/run";
import { findCommandPlugin } from "../../toolchain/command-plugin";
import { homeOf } from "../../toolchain/home";

jest.setTimeout(60_000);

const inUse = findCommandPlugin(homeOf(process.env), process.env)?.origin ?? "fallback";

(inUse === "fallback" ? describe : describe.skip)("the fallback for the command plugin", () => {
  let folder: string;
  let trace: string;
  let sshd: Sshd;
  let stack: Stack;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "fallback-"));
    trace = join(folder, "trace");
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

  /** Runs until it is stopped, and then takes half a second to clean up. */
  const endless = (): string =>
    `trap 'sleep 0.5; echo cleaned >>${trace}; exit 7' TERM; echo started >>${trace}; while :; do sleep 0.1; done`;

  function resource(args: Partial<Resource["args"]>, changes: Partial<Record<string, unknown>> = {}): Resource {
    const connection = connectionTo(sshd, changes);
    return { name: "command", args: { connection, ...args } as Resource["args"] };
  }

  function traced(): string[] {
    return existsSync(trace) ? readFileSync(trace, "utf8").trim().split("\n") : [];
  }

  /** Waits until the condition holds, for at most this many seconds. */
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

  test("an interrupted deployment stops the running command, which can clean up", async () => {
    const engine = await stack.begin([resource({ create: endless() })]);
    const ended = once(engine, "exit");
    await until(20, () => traced().includes("started"));
    const provider = await providerOf(engine.pid);
    engine.kill("SIGINT");
    expect(await ended).not.toEqual([0, null]);
    expect(traced()).toEqual(["started", "cleaned"]);
    await until(5, () => !isAlive(provider));
    expect(stack.state("command")).toBeUndefined();
  });

  test("a killed engine stops the command and the provider", async () => {
    const engine = await stack.begin([resource({ create: endless() })]);
    await until(20, () => traced().includes("started"));
    const provider = await providerOf(engine.pid);
    engine.kill("SIGKILL");
    await until(10, () => !isAlive(provider));
    expect(traced()).toEqual(["started", "cleaned"]);
    await stack.cancel();
  });

  test("customTimeouts stop the command", async () => {
    const { stdout } = await stack.tryUp([
      { ...resource({ create: endless() }), options: { customTimeouts: { create: "2s" } } },
    ]);
    expect(stdout).toContain("timed out after 2 s");
    expect(traced()).toEqual(["started", "cleaned"]);
  });

  test("misspelt or missing settings are named, and nothing of the connection is shown", async () => {
    const misspelt = { hostKey: undefined, hostkey: sshd.hostKey };
    const { code, stdout } = await stack.tryUp([resource({ create: "true" }, misspelt)]);
    expect(code).not.toBe(0);
    expect(stdout).toContain("connection.hostkey is not a known input");
    expect(stdout).toContain("connection.hostKey is missing");
    expect(stdout).not.toContain(sshd.privateKey.split("\n")[1]);
  });

  test("a missing ssh-agent fails the connection, as with the official plugin; so does a line that is too long for the agent", async () => {
    const agentSocketPath = join(folder, "no-agent");
    const long = "head -c 65536 /dev/zero | tr '\\0' x; echo";
    const { stdout } = await stack.tryUp([
      { ...resource({ create: long }), name: "long" },
      { ...resource({ create: "true" }, { agentSocketPath }), name: "with-key" },
      { ...resource({ create: "true" }, { agentSocketPath, privateKey: undefined }), name: "without-key" },
    ]);
    expect(stdout).toContain("a line of output is longer than 65535 bytes");
    expect(stdout).toContain("the ssh-agent does not answer");
    for (const name of ["long", "with-key", "without-key"]) expect(stack.state(name)).toBeUndefined();
  });
});
