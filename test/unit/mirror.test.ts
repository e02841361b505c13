import * as pulumi from "@pulumi/pulumi";
import * as commands from "../../infra/commands";
import { renderFiles } from "../../infra/files";
import { Mirror, parseReport, type MirrorArgs } from "../../infra/mirror";
import { fakeEngine, valueOf, type Registered, type Seen } from "./support/engine";
import { hostile, hostKey, hostOf } from "./support/settings";

const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n";
const report = "lsyncd: active since Mon\ntimer: active\nversion: 2.2.3\n";

async function deploy(settings: Record<string, unknown> = {}): Promise<Seen & { mirror: Mirror; state: unknown }> {
  const seen = await fakeEngine((name) => (name.endsWith("-activation") ? report : ""));
  const host = hostOf(settings);
  const args: MirrorArgs = {
    host,
    connection: { host: host.address, port: host.port, user: host.user, hostKey, privateKey: key },
    stack: "organization/lsyncd/test",
    waived: [],
  };
  const mirror = new Mirror(host.name, args);
  const state = await valueOf(mirror.state);
  return { ...seen, mirror, state };
}

const commandsOf = ({ resources }: Seen): Registered[] => resources.filter(({ type }) => type.startsWith("command:"));

describe("parseReport", () => {
  it("reads the lines that activation prints", () => {
    expect(parseReport(`noise\n${report}`)).toEqual({ service: "active since Mon", timer: "active", version: "2.2.3" });
  });
  it("says of what is not there that it is unknown", () => {
    expect(parseReport("")).toEqual({ service: "unknown", timer: "unknown", version: "unknown" });
  });
});

describe("a mirror", () => {
  it("is one tree: preflight, packages, a command for each managed file, activation", async () => {
    const seen = await deploy();
    expect(seen.resources.map(({ type, name }) => `${type} ${name}`)).toEqual([
      "lsyncd:index:Mirror sqlite-1",
      "pulumi-nodejs:dynamic/lsyncd:HostState sqlite-1-state",
      "command:remote:Command sqlite-1-preflight",
      "command:remote:Command sqlite-1-packages",
      ...renderFiles(hostOf()).map(({ name }) => `command:remote:Command sqlite-1-file-${name}`),
      "command:remote:Command sqlite-1-activation",
    ]);
  });

  it("takes each step when the one before has ended", async () => {
    const { order } = await deploy();
    const at = (event: string): number => {
      expect(order).toContain(event);
      return order.indexOf(event);
    };
    const files = renderFiles(hostOf()).map(({ name }) => `sqlite-1-file-${name}`);
    expect(at("end sqlite-1-preflight")).toBeLessThan(at("begin sqlite-1-packages"));
    for (const file of files) {
      expect(at("end sqlite-1-packages")).toBeLessThan(at(`begin ${file}`));
      expect(at(`end ${file}`)).toBeLessThan(at("begin sqlite-1-activation"));
    }
  });

  it("runs what infra/commands builds, on an update as on a create", async () => {
    const seen = await deploy();
    const host = hostOf();
    const identity = { stack: "organization/lsyncd/test", host };
    const files = renderFiles(host);
    const expected = {
      "sqlite-1-packages": commands.installPackages(identity),
      "sqlite-1-activation": commands.activate(identity, files),
      ...Object.fromEntries(files.map((file) => [`sqlite-1-file-${file.name}`, commands.stage(identity, file)])),
    };
    for (const [name, command] of Object.entries(expected)) {
      const inputs = commandsOf(seen).find((one) => one.name === name)?.inputs;
      expect(inputs).toMatchObject({ ...command, update: command.create, addPreviousOutputInEnv: false });
    }
    const preflight = commandsOf(seen).find(({ name }) => name === "sqlite-1-preflight")?.inputs;
    expect(preflight).toMatchObject({ stdin: commands.preflight(identity, "x").stdin });
    expect(preflight).not.toHaveProperty("delete");
  });

  it("never uses triggers: they would remove what was just installed", async () => {
    for (const { inputs } of commandsOf(await deploy())) expect(inputs).not.toHaveProperty("triggers");
  });

  it("tells what an operator asks first", async () => {
    expect((await deploy()).state).toEqual({
      source: "/mnt/storage_do_1",
      target: "/mnt/storage_do_2",
      service: "active since Mon",
      timer: "active",
      version: "2.2.3",
    });
  });
});

describe("secrets", () => {
  it("the connection is one, and the private key is nowhere else", async () => {
    for (const { inputs, secrets } of commandsOf(await deploy())) {
      const { connection, ...rest } = inputs;
      expect(secrets).toContain("connection");
      expect(connection).toMatchObject({ host: "192.0.2.11", hostKey, privateKey: key });
      expect(JSON.stringify(rest)).not.toContain("hunter2");
    }
  });

  it("by default nothing else is, so that a preview shows every changed line", async () => {
    for (const { secrets } of commandsOf(await deploy())) expect(secrets).toEqual(["connection"]);
  });

  it("files that hold a password are, and so is what could tell it", async () => {
    const seen = await deploy({ smtp: hostile.smtp, heartbeatUrl: hostile.heartbeatUrl });
    const secrets = Object.fromEntries(commandsOf(seen).map(({ name, secrets }) => [name, secrets]));
    expect(secrets["sqlite-1-file-msmtp"]).toContain("stdin");
    expect(secrets["sqlite-1-file-alert-settings"]).toContain("stdin");
    expect(secrets["sqlite-1-file-config"]).not.toContain("stdin");
    // It holds the checksum of these files.
    expect(secrets["sqlite-1-activation"]).toContain("stdin");
    expect(secrets["sqlite-1-preflight"]).toEqual(expect.arrayContaining(["create", "update"]));
    const visible = commandsOf(seen).map(({ inputs, secrets }) =>
      Object.fromEntries(Object.entries(inputs).filter(([input]) => !secrets.includes(input))),
    );
    expect(JSON.stringify(visible)).not.toContain(JSON.stringify(hostile.smtp.password).slice(1, -1));
    expect(JSON.stringify(visible)).not.toContain("/ping/");
  });

  it("the exports are none", async () => {
    const { mirror } = await deploy({ smtp: hostile.smtp });
    expect(await pulumi.isSecret(mirror.state)).toBe(false);
  });
});
