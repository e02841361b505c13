import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { Command } from "../../infra/command";
import * as commands from "../../infra/commands";
import { partsOf } from "../../infra/commands/bundle";
import { renderFiles } from "../../infra/files";
import type { Looked } from "../../infra/observe";
import { Mirror, parseReport, type MirrorArgs } from "../../infra/mirror";
import { unanswered } from "../../infra/drift";
import { fakeEngine, valueOf, type Registered, type Seen } from "./support/engine";
import { hostile, hostKey, hostOf } from "./support/settings";

const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n";
const report = "lsyncd: active since Mon\ntimer: active\nversion: 2.2.3\n";

async function deploy(
  settings: Record<string, unknown> = {},
  looked: Partial<Looked> = {},
): Promise<Seen & { mirror: Mirror; state: unknown }> {
  const seen = await fakeEngine((name) => (name.endsWith("-activation") ? report : ""));
  const host = hostOf(settings);
  const args: MirrorArgs = {
    host,
    connection: { host: host.address, port: host.port, user: host.user, hostKey, privateKey: key },
    stack: "organization/lsyncd/test",
    files: renderFiles(host),
    looked: { ...unanswered, answered: true, deployed: true, ...looked },
    now: new Date("2026-01-02T03:04:05Z"),
  };
  const mirror = new Mirror(host.name, args);
  const state = await valueOf(mirror.state);
  return { ...seen, mirror, state };
}

const commandsOf = ({ resources }: Seen): Registered[] => resources.filter(({ type }) => type.startsWith("command:"));

describe("parseReport", () => {
  it("reads the lines that the activation prints", () => {
    expect(parseReport(`noise\n${report}`)).toEqual({ service: "active since Mon", timer: "active", version: "2.2.3" });
  });
  it("reports missing values as unknown", () => {
    expect(parseReport("")).toEqual({ service: "unknown", timer: "unknown", version: "unknown" });
  });
});

describe("a mirror", () => {
  it("is one tree of four resources: preflight, packages, activation and their parent", async () => {
    const seen = await deploy();
    expect(seen.resources.map(({ type, name }) => `${type} ${name}`)).toEqual([
      "lsyncd:index:Mirror sqlite-1",
      "command:remote:Command sqlite-1-preflight",
      "command:remote:Command sqlite-1-packages",
      "command:remote:Command sqlite-1-activation",
    ]);
  });

  it("runs each step after the one before has ended", async () => {
    const { order } = await deploy();
    const at = (event: string): number => {
      expect(order).toContain(event);
      return order.indexOf(event);
    };
    expect(at("end sqlite-1-preflight")).toBeLessThan(at("begin sqlite-1-packages"));
    expect(at("end sqlite-1-packages")).toBeLessThan(at("begin sqlite-1-activation"));
  });

  it("runs the commands from infra/commands, on create and on update", async () => {
    const seen = await deploy();
    const host = hostOf();
    const identity = { stack: "organization/lsyncd/test", host };
    const files = renderFiles(host);
    const expected = {
      "sqlite-1-packages": commands.installPackages(identity),
      "sqlite-1-activation": commands.activate(identity, files),
    };
    for (const [name, command] of Object.entries(expected)) {
      const inputs = commandsOf(seen).find((one) => one.name === name)?.inputs;
      expect(inputs).toMatchObject({ ...command, update: command.create, addPreviousOutputInEnv: false });
    }
    const preflight = commandsOf(seen).find(({ name }) => name === "sqlite-1-preflight")?.inputs;
    expect(preflight).toMatchObject({ stdin: commands.preflight(identity, files).stdin });
    expect(preflight).not.toHaveProperty("delete");
  });

  it("never uses triggers, because they would remove what was just installed", async () => {
    for (const { inputs } of commandsOf(await deploy())) expect(inputs).not.toHaveProperty("triggers");
  });

  it("exports the values that an operator needs first", async () => {
    expect((await deploy()).state).toEqual({
      source: "/mnt/storage_do_1",
      target: "/mnt/storage_do_2",
      service: "active since Mon",
      timer: "active",
      version: "2.2.3",
    });
  });
});

describe("a host that differs from the deployed state", () => {
  // Without an engine, warnings go to the console.
  beforeEach(() => jest.spyOn(console, "warn").mockImplementation());
  afterEach(() => jest.restoreAllMocks());

  const ranAgain = (seen: Seen): string[] =>
    commandsOf(seen)
      .filter(
        ({ inputs }) => String(inputs.create).endsWith(" run 20260102T030405Z") && inputs.create === inputs.update,
      )
      .map(({ name }) => name);
  const repairing = ["sqlite-1-packages", "sqlite-1-activation"];

  it("runs its packages and activation again; the activation repeats the checks of the preflight", async () => {
    expect(ranAgain(await deploy({}, { drift: [{ what: "/etc/x", how: "is missing", lines: [] }] }))).toEqual(
      repairing,
    );
  });

  it("keeps the same trigger afterwards, so that nothing changes again", async () => {
    expect(ranAgain(await deploy({}, { run: "20260102T030405Z" }))).toEqual(repairing);
  });

  it("has no trigger when it never differed", async () => {
    expect(ranAgain(await deploy())).toEqual([]);
  });

  it.each([
    ["runs all again when nothing is deployed there", { deployed: false }],
    ["is called the same way from then on", { run: "20260102T030405Z", since: "20260102T030405Z" }],
  ])("%s", async (_what, looked) => {
    const seen = await deploy({}, looked);
    expect(ranAgain(seen)).toEqual(commandsOf(seen).map(({ name }) => name));
  });
});

describe("a host that an earlier version deployed, with a resource for each file", () => {
  it("has these files registered once more, so that they are removed without running their `delete`", async () => {
    const seen = await deploy({}, { staged: ["/etc/lsyncd/lsyncd.conf.lua", "/etc/lsyncd/limits.conf"] });
    const files = commandsOf(seen).filter(({ name }) => name.includes("-file-"));
    expect(files.map(({ name }) => name)).toEqual(["sqlite-1-file-config"]);
    expect(files[0]?.inputs).not.toHaveProperty("delete");
  });
});

describe("a host whose password is refused", () => {
  const settings = { user: "deploy", becomePassword: "s3cret" };
  const asRoot = (seen: Seen): string[] =>
    commandsOf(seen)
      .map(({ inputs }) => String(inputs.stdin))
      .map((stdin) => Object.values(partsOf(stdin) ?? { stdin }).join(""));

  it("is not tried again: the commands contain the reason instead of the password", async () => {
    const seen = asRoot(await deploy(settings, { ...unanswered, refusedBy: "sqlite-9" }));
    expect(seen).toHaveLength(3);
    for (const stdin of seen) {
      expect(stdin).toContain("REFUSED_BY=sqlite-9\n");
      expect(stdin).not.toContain("s3cret");
    }
  });

  it("is in no command: commands borrow root's rights, and a preview shows the command", async () => {
    const seen = await deploy(settings);
    expect(JSON.stringify(commandsOf(seen).map(({ inputs }) => inputs))).not.toContain("s3cret");
    for (const { secrets } of commandsOf(seen)) expect(secrets).toEqual(["connection"]);
  });
});

it("a command is registered exactly as @pulumi/command registers it", async () => {
  const seen = await fakeEngine(() => "");
  const connection = { host: "192.0.2.11", hostKey, user: "root", port: 22, dialErrorLimit: 2, perDialTimeout: 15 };
  const args = { connection, create: "a", update: "b", delete: "c", stdin: "d", logging: "stderr" as const };
  const options = { additionalSecretOutputs: [] };
  const made = [new Command("ours", args, options), new remote.Command("theirs", args, options)];
  await Promise.all(made.map(({ stdout }) => valueOf(stdout)));
  const [ours, theirs] = seen.resources.map(({ name, ...rest }) => ({ ...rest, given: name !== "" }));
  expect(ours).toEqual(theirs);
});

describe("secrets", () => {
  it("the connection is secret, and the private key is nowhere else", async () => {
    for (const { inputs, secrets } of commandsOf(await deploy())) {
      const { connection, ...rest } = inputs;
      expect(secrets).toContain("connection");
      expect(connection).toMatchObject({ host: "192.0.2.11", hostKey, privateKey: key });
      expect(JSON.stringify(rest)).not.toContain("hunter2");
    }
  });

  it("by default nothing else is secret, so a preview shows every changed line", async () => {
    for (const { secrets } of commandsOf(await deploy())) expect(secrets).toEqual(["connection"]);
  });

  it("files with a password are secret, and so is everything derived from it", async () => {
    const seen = await deploy({ smtp: hostile.smtp, heartbeatUrl: hostile.heartbeatUrl });
    const secrets = Object.fromEntries(commandsOf(seen).map(({ name, secrets }) => [name, secrets]));
    expect(secrets["sqlite-1-preflight"]).toContain("stdin");
    // All other files are shown.
    expect(secrets["sqlite-1-activation"]).toEqual(["connection"]);
    const visible = commandsOf(seen).map(({ inputs, secrets }) =>
      Object.fromEntries(Object.entries(inputs).filter(([input]) => !secrets.includes(input))),
    );
    expect(JSON.stringify(visible)).not.toContain(JSON.stringify(hostile.smtp.password).slice(1, -1));
    expect(JSON.stringify(visible)).not.toContain("/ping/");
  });

  it("the exports contain none", async () => {
    const { mirror } = await deploy({ smtp: hostile.smtp });
    expect(await pulumi.isSecret(mirror.state)).toBe(false);
  });
});
