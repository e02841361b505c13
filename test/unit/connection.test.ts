import { commandConnection, connections } from "../../infra/connection";
import { SettingsError } from "../../infra/config";
import { entry, hostKey, settingsOf } from "./support/settings";

const never = (): string | undefined => {
  throw new Error("known_hosts was asked");
};
const key = "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\n";

it("uses the configured host key without a lookup", () => {
  const reach = connections(settingsOf({ hosts: [{ ...entry, port: 2222, user: "deploy" }] }), never);
  expect(Object.fromEntries(reach)).toEqual({
    "sqlite-1": { host: "192.0.2.11", port: 2222, user: "deploy", hostKey },
  });
});

it("looks up the key of a host that has none configured", () => {
  const hosts = [{ name: "db", address: "db.example.com", port: 2222 }];
  const reach = connections(settingsOf({ hosts }), (address, port) => `${address} ${port}`);
  expect(reach.get("db")?.hostKey).toBe("db.example.com 2222");
});

it("passes the private key on, and omits it for the ssh-agent", () => {
  expect(connections(settingsOf({ privateKey: key }), never).get("sqlite-1")).toHaveProperty("privateKey", key);
  expect(connections(settingsOf({}), never).get("sqlite-1")).not.toHaveProperty("privateKey");
});

it("refuses an unusable key once for all hosts that share it, without showing it", () => {
  const hosts = [entry, { ...entry, name: "b", address: "192.0.2.12", hostKey: `${hostKey}A` }];
  const attempt = (): unknown =>
    connections(settingsOf({ hosts, privateKey: key.replaceAll("RSA", "DSA") }), () => undefined);
  expect(attempt).toThrow(
    /\(1 fault\); no host was contacted:\n {2}- lsyncd:privateKey of sqlite-1: is not a private key that ssh supports/,
  );
  expect(attempt).not.toThrow(/hunter2/);
});

it("refuses all unknown hosts in one message, which says what to do", () => {
  const hosts = [entry, { name: "a", address: "a.example.com" }, { name: "b", address: "192.0.2.9", port: 2222 }];
  const attempt = (): unknown => connections(settingsOf({ hosts, privateKey: key }), () => undefined);
  expect(attempt).toThrow(SettingsError);
  expect(attempt).toThrow(/\(2 faults\); no host was contacted/);
  expect(attempt).toThrow(/lsyncd:hosts a: the key of a\.example\.com port 22 is not known/);
  expect(attempt).toThrow(/npm run hosts:scan -- 192\.0\.2\.9:2222`/);
  expect(attempt).not.toThrow(/hunter2/);
});

it.each([
  ["that is set", { hostKey: "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ==" }, undefined],
  ["that is known", {}, "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ=="],
])("refuses an RSA host key %s, because the command plugin would request it with SHA-1 only", (_, given, known) => {
  const hosts = [{ name: "old", address: "2001:db8::1", port: 2222, ...given }];
  const attempt = (): unknown => connections(settingsOf({ hosts }), () => known);
  expect(attempt).toThrow(
    /\(1 fault\); no host was contacted:\n {2}- lsyncd:hosts old: only the RSA key of 2001:db8::1 port 2222/,
  );
  expect(attempt).toThrow(/npm run hosts:scan -- \[2001:db8::1\]:2222`/);
  const bastion = { address: "gate.example.com", ...given };
  expect(() => connections(settingsOf({ bastion }), () => known)).toThrow(
    /the bastion: only the RSA key of gate\.example\.com port 22 is known/,
  );
});

it("refuses two entries with one host key, configured or looked up, because they are one machine", () => {
  const hosts = [entry, { name: "alias", address: "mail.example.com" }, { name: "db", address: "db.example.com" }];
  const attempt = (): unknown =>
    connections(settingsOf({ hosts }), (address) => (address.startsWith("db") ? "k" : hostKey));
  expect(attempt).toThrow(
    /\(1 fault\); no host was contacted:\n {2}- lsyncd:hosts alias: has the host key of sqlite-1\./,
  );
});

it("limits the connection attempt of a remote command to half a minute", () => {
  const connection = { host: "192.0.2.11", port: 22, user: "root", hostKey };
  expect(commandConnection(connection)).toEqual({ ...connection, dialErrorLimit: 2, perDialTimeout: 15 });
  expect(commandConnection({ ...connection, privateKey: key })).toHaveProperty("privateKey", key);
});

describe("a bastion", () => {
  const bastion = { address: "gate.example.com", hostKey };
  const reach = (settings: Record<string, unknown>): unknown =>
    connections(settingsOf({ bastion, ...settings }), never).get("sqlite-1")?.proxy;

  it("uses the login of the host behind it, unless it has its own", () => {
    const common = { host: "gate.example.com", port: 22, user: "root", hostKey };
    expect(reach({ privateKey: key, privateKeyPassphrase: "open" })).toEqual({
      ...common,
      privateKey: key,
      privateKeyPassword: "open",
    });
    expect(reach({ privateKey: key, bastion: { ...bastion, user: "jump", port: 2200, password: "p" } })).toEqual({
      ...common,
      port: 2200,
      user: "jump",
      password: "p",
    });
  });

  it("must have a known host key too", () => {
    const settings = settingsOf({ bastion: { address: "gate.example.com", port: 2200 } });
    expect(() => connections(settings, () => undefined)).toThrow(
      /the bastion: the key of gate\.example\.com port 2200/,
    );
    expect(connections(settings, (address) => `key of ${address}`).get("sqlite-1")?.proxy?.hostKey).toBe(
      "key of gate.example.com",
    );
  });

  it("gets as many attempts as the host", () => {
    const connection = { host: "192.0.2.11", port: 22, user: "root", hostKey };
    expect(commandConnection({ ...connection, proxy: connection }).proxy).toEqual({
      ...connection,
      dialErrorLimit: 2,
      perDialTimeout: 15,
    });
  });

  it("lets hosts in two networks have the same address", () => {
    const other = { ...entry, name: "sqlite-2" };
    expect(() => settingsOf({ hosts: [entry, { ...other, bastion }] })).not.toThrow();
    expect(() => settingsOf({ hosts: [entry, other] })).toThrow(/is already used/);
  });
});

it("a passphrase is passed only with the key it was set for", () => {
  const stack = { privateKey: key, privateKeyPassphrase: "open" };
  const [first, second] = settingsOf({
    ...stack,
    hosts: [entry, { ...entry, name: "b", address: "192.0.2.12", privateKey: `${key}other` }],
  }).hosts;
  expect(first).toHaveProperty("privateKeyPassphrase", "open");
  expect(second).not.toHaveProperty("privateKeyPassphrase");
});
