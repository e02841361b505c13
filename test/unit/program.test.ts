import * as pulumi from "@pulumi/pulumi";
import { fakeEngine, valueOf, type Seen } from "./support/engine";
import { program as deployAll } from "../../infra/program";
import { entry, hostKey } from "./support/settings";

// A unit test contacts no host: all answer that nothing differs, except one that never answers.
jest.mock("../../infra/ssh", () => ({
  Unreachable: class extends Error {},
  NoLogin: class extends Error {},
  runRemote: ({ host }: { host: string }) =>
    host === "192.0.2.99"
      ? Promise.reject(new Error("no answer within 40 s"))
      : Promise.resolve({ code: 0, stdout: "looked\n", stderr: "" }),
}));

// The error that fails the run at its end goes to the SDK; see refusals.test.ts.
const mockLeftAlone: string[] = [];
jest.mock("../../infra/observe", () => ({
  ...jest.requireActual<object>("../../infra/observe"),
  leaveAlone: ({ name }: { name: string }, { fault }: { fault?: { text: string } }) =>
    mockLeftAlone.push(`${name}: ${fault?.text ?? ""}`),
}));

/** Runs the program as `pulumi up` does, against an engine that deploys nothing. */
async function program(config: Record<string, unknown>, seen?: (engine: Seen) => void) {
  const engine = await fakeEngine(() => "version: 2.2.3\n");
  seen?.(engine);
  pulumi.runtime.setAllConfig(
    Object.fromEntries(
      Object.entries(config).map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    ),
  );
  const hosts: Record<string, pulumi.Output<unknown>> = await deployAll();
  const states = await Promise.all(Object.values(hosts).map(valueOf));
  return Object.fromEntries(Object.keys(hosts).map((name, index) => [name, states[index]]));
}

it("creates a mirror of each host and exports its state", async () => {
  let engine: Seen | undefined;
  const hosts = [
    entry,
    { ...entry, name: "sqlite-2", address: "192.0.2.12", hostKey: `${hostKey}A`, source: "/mnt/other" },
  ];
  const exported = await program({ "lsyncd:hosts": hosts }, (it) => (engine = it));
  expect(exported).toMatchObject({
    "sqlite-1": { source: "/mnt/storage_do_1", version: "2.2.3" },
    "sqlite-2": { source: "/mnt/other", version: "2.2.3" },
  });
  const mirrors = engine?.resources.filter(({ type }) => type === "lsyncd:index:Mirror");
  expect(mirrors?.map(({ name }) => name)).toEqual(["sqlite-1", "sqlite-2"]);
});

it("refuses invalid settings before it registers anything, without a stack trace", async () => {
  let engine: Seen | undefined;
  const config = { "lsyncd:hosts": [entry, { ...entry, source: "/etc" }], "lsyncd:delay": "0" };
  const attempt = program(config, (it) => (engine = it));
  await expect(attempt).rejects.toThrow(/Invalid configuration \(2 faults\); no host was contacted:/);
  await expect(attempt).rejects.toBeInstanceOf(pulumi.RunError);
  expect(engine?.resources).toEqual([]);
});

it("refuses a host with an unknown key before it registers anything", async () => {
  let engine: Seen | undefined;
  const hosts = [entry, { name: "unknown", address: "no-such-host.invalid" }];
  const attempt = program({ "lsyncd:hosts": hosts }, (it) => (engine = it));
  await expect(attempt).rejects.toThrow(/the key of no-such-host\.invalid port 22 is not known/);
  expect(engine?.resources).toEqual([]);
});

it("registers no command for a host that did not answer during an update, because the plugin would wait forever", async () => {
  let engine: Seen | undefined;
  const hosts = [entry, { ...entry, name: "silent", address: "192.0.2.99", hostKey: `${hostKey}A` }];
  const exported = await program({ "lsyncd:hosts": hosts }, (it) => (engine = it));
  expect(Object.keys(exported)).toEqual(["sqlite-1"]);
  expect(engine?.resources.filter(({ name }) => name.startsWith("sqlite-1")).length).toBeGreaterThan(3);
  expect(engine?.resources.filter(({ name }) => name.startsWith("silent"))).toEqual([]);
  expect(mockLeftAlone).toEqual(["silent: no answer within 40 s"]);
});
