import * as pulumi from "@pulumi/pulumi";
import { fakeEngine, valueOf, type Seen } from "./support/engine";
import { program as deployAll } from "../../infra/program";
import { entry, hostKey } from "./support/settings";

// No host is contacted by a unit test: all say that they are as they were deployed.
jest.mock("../../infra/ssh", () => ({
  Unreachable: class extends Error {},
  startRemote: () => Promise.resolve({}),
  finishRemote: () => Promise.resolve({ code: 0, stdout: "looked\n", stderr: "" }),
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

it("makes a mirror of each host and exports its state", async () => {
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

it("refuses bad settings before it registers anything, in a message without a stack trace", async () => {
  let engine: Seen | undefined;
  const config = { "lsyncd:hosts": [entry, { ...entry, source: "/etc" }], "lsyncd:delay": "0" };
  const attempt = program(config, (it) => (engine = it));
  await expect(attempt).rejects.toThrow(/The settings have 2 faults, no host was contacted:/);
  await expect(attempt).rejects.toBeInstanceOf(pulumi.RunError);
  expect(engine?.resources).toEqual([]);
});

it("refuses a host whose key is not known before it registers anything", async () => {
  let engine: Seen | undefined;
  const hosts = [entry, { name: "unknown", address: "no-such-host.invalid" }];
  const attempt = program({ "lsyncd:hosts": hosts }, (it) => (engine = it));
  await expect(attempt).rejects.toThrow(/the key of no-such-host\.invalid port 22 is not known/);
  expect(engine?.resources).toEqual([]);
});
