import { commandConnection, connections } from "../../infra/connection";
import { SettingsError } from "../../infra/config";
import { entry, hostKey, settingsOf } from "./support/settings";

const never = (): string | undefined => {
  throw new Error("known_hosts was asked");
};
const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n";

it("takes the host key of the settings, and asks nobody", () => {
  const reach = connections(settingsOf({ hosts: [{ ...entry, port: 2222, user: "deploy" }] }), never);
  expect(Object.fromEntries(reach)).toEqual({
    "sqlite-1": { host: "192.0.2.11", port: 2222, user: "deploy", hostKey },
  });
});

it("looks up a host without one", () => {
  const hosts = [{ name: "db", address: "db.example.com", port: 2222 }];
  const reach = connections(settingsOf({ hosts }), (address, port) => `${address} ${port}`);
  expect(reach.get("db")?.hostKey).toBe("db.example.com 2222");
});

it("hands the private key on, and leaves it out for the ssh-agent", () => {
  expect(connections(settingsOf({ privateKey: key }), never).get("sqlite-1")).toHaveProperty("privateKey", key);
  expect(connections(settingsOf({}), never).get("sqlite-1")).not.toHaveProperty("privateKey");
});

it("refuses all hosts that are not known in one message, with what to do", () => {
  const hosts = [entry, { name: "a", address: "a.example.com" }, { name: "b", address: "192.0.2.9", port: 2222 }];
  const attempt = (): unknown => connections(settingsOf({ hosts, privateKey: key }), () => undefined);
  expect(attempt).toThrow(SettingsError);
  expect(attempt).toThrow(/2 faults, no host was contacted/);
  expect(attempt).toThrow(/lsyncd:hosts a: the key of a\.example\.com port 22 is not known/);
  expect(attempt).toThrow(/ssh-keyscan -p 2222 192\.0\.2\.9 >> ~\/\.ssh\/known_hosts/);
  expect(attempt).not.toThrow(/hunter2/);
});

it("gives a remote command half a minute to reach a host", () => {
  const connection = { host: "192.0.2.11", port: 22, user: "root", hostKey };
  expect(commandConnection(connection)).toEqual({ ...connection, dialErrorLimit: 2, perDialTimeout: 15 });
  expect(commandConnection({ ...connection, privateKey: key })).toHaveProperty("privateKey", key);
});
