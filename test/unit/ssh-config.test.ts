import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSettings, type HostSettings } from "../../infra/config";
import { connections } from "../../infra/connection";
import { parseJump, sshHost } from "../../infra/ssh-config";
import { hostKey } from "./support/settings";

let home: string;
const before = process.env.HOME;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "ssh-config-"));
  mkdirSync(join(home, ".ssh"));
  process.env.HOME = home;
});
afterEach(() => {
  process.env.HOME = before;
  rmSync(home, { recursive: true });
});

const write = (name: string, text: string): void => {
  writeFileSync(join(home, ".ssh", name), text, { mode: 0o600 });
};
const privateKey = generateKeyPairSync("rsa", { modulusLength: 2048 })
  .privateKey.export({ type: "pkcs1", format: "pem" })
  .toString();

function hostOf(entry: Record<string, unknown>, more: Record<string, string> = {}): HostSettings {
  const stack = { "lsyncd:sshConfig": "true", "lsyncd:hosts": JSON.stringify([{ name: "a", ...entry }]), ...more };
  const [host] = readSettings({ stack, env: {} }).hosts;
  if (host === undefined) throw new Error("no host");
  return host;
}

it("reads unset values from ~/.ssh/config, with Include, patterns and Match; settings take precedence", () => {
  write("more", "Host mail-*\n  Port 2222\n  User deploy\n");
  write(
    "config",
    `Include "${home}/.ssh/more"\nMatch originalhost mail-1\n  HostName 192.0.2.7\n  IdentityFile ~/.ssh/key\n`,
  );
  write("key", privateKey);
  expect(hostOf({ address: "mail-1" })).toMatchObject({ address: "192.0.2.7", port: 2222, user: "deploy", privateKey });
  expect(hostOf({ address: "mail-1", user: "ops", port: 22 })).toMatchObject({ user: "ops", port: 22 });
  expect(hostOf({ address: "mail-1", sshConfig: false })).toMatchObject({ address: "mail-1", port: 22, user: "root" });
});

it("changes nothing for a host without an entry or without a file: the user is root, not the local user", () => {
  for (const text of [undefined, "Host other\n  User x\n"]) {
    if (text !== undefined) write("config", text);
    const host = hostOf({ address: "2001:db8::1" });
    expect(host).toMatchObject({ address: "2001:db8::1", port: 22, user: "root" });
    expect(host).not.toHaveProperty("privateKey");
    expect(host).not.toHaveProperty("bastion");
  }
});

it("uses the host that ProxyJump names, and looks it up as well", () => {
  write(
    "config",
    "Host db\n  ProxyJump ops@gate:2200\nHost gate\n  HostName 198.51.100.1\n  User ignored\n  IdentityFile ~/.ssh/key\n",
  );
  write("key", privateKey);
  expect(hostOf({ address: "db" }).bastion).toEqual({ address: "198.51.100.1", port: 2200, user: "ops", privateKey });
  expect(hostOf({ address: "db", bastion: { address: "other" } }).bastion).toMatchObject({ address: "other" });
});

it.each([
  ["two", "Host db\n  ProxyJump one,two\n", /ProxyJump one,two names more than one jump host/],
  ["one behind another", "Host db\n  ProxyJump gate\nHost gate\n  ProxyJump outer\n", /gate is itself behind outer/],
  [
    "a word that ssh does not know",
    "Nonsense yes\n",
    /sshConfig of a: ssh cannot read this part of ~\/.ssh\/config: .*[Nn]onsense/,
  ],
])("refuses %s, and gives the reason", (_what, text, message) => {
  write("config", text);
  expect(() => hostOf({ address: "db" })).toThrow(message);
});

it("finds a host's key by its HostKeyAlias, without a port, and the key of the bastion", () => {
  write("config", "Host db\n  Port 2222\n  HostKeyAlias vault\n  ProxyJump gate\nHost gate\n  HostKeyAlias door\n");
  const asked: [string, number][] = [];
  connections({ hosts: [hostOf({ address: "db" })], waived: [] }, (name, port) => {
    asked.push([name, port]);
    return `${hostKey}${name}`;
  });
  expect(asked).toEqual([
    ["vault", 22],
    ["door", 22],
  ]);
});

it("leaves an encrypted key to the ssh-agent, unless its passphrase is set", () => {
  const locked = generateKeyPairSync("rsa", { modulusLength: 2048 })
    .privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "open" })
    .toString();
  write("config", "Host db\n  IdentityFile ~/.ssh/none\n  IdentityFile %d/.ssh/key\n");
  write("key", locked);
  expect(hostOf({ address: "db" })).not.toHaveProperty("privateKey");
  expect(hostOf({ address: "db" }, { "lsyncd:privateKeyPassphrase": "open" })).toHaveProperty("privateKey", locked);
});

it.each([
  ["gate", { address: "gate" }],
  ["ops@gate:2200", { address: "gate", port: 2200, user: "ops" }],
  ["ssh://ops@gate", { address: "gate", user: "ops" }],
  ["[2001:db8::1]:22", { address: "2001:db8::1", port: 22 }],
  ["a,b", undefined],
])("reads ProxyJump %s", (jump, expected) => {
  expect(parseJump(jump)).toEqual(expected);
});

it("an address is never parsed as an ssh option", () => {
  expect(() => sshHost("-oProxyCommand=touch /tmp/x", { port: 22, user: "root" })).toThrow();
});
