import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { certified } from "../../infra/certified";
import { commandConnection, connections, type Connection } from "../../infra/connection";
import { certifiedKey, UnusableCertificate } from "../../infra/host-certificate";
import { knownHostKey } from "../../infra/known-hosts";
import { runRemote, Unreachable } from "../../infra/ssh";
import { makeKey, prepareSshd, type Sshd } from "../../toolchain/command-provider/testing/sshd";
import { settingsOf } from "../unit/support/settings";

jest.setTimeout(120_000);

const folder = mkdtempSync(join(tmpdir(), "host-certificate-"));
const file = (name: string): string => join(folder, name);
const name = "db.example.com";
const authorities: [type: string, options: string[]][] = [
  ["ed25519", []],
  ["ecdsa", []],
  ["rsa", ["-t", "rsa-sha2-512"]],
];
const keyOf = (path: string): string => readFileSync(`${path}.pub`, "utf8").split(" ").slice(0, 2).join(" ").trim();
const revoked = (path: string): string => `@revoked * ${keyOf(path)}`;

beforeAll(async () => {
  for (const [type] of authorities) await makeKey(file(`ca-${type}`), "", type);
  await makeKey(file("other"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Makes a certificate for a host's key, and returns its path. */
function sign(publicKey: string, options: string[], authority = "ca-ed25519"): string {
  writeFileSync(file("host.pub"), `${publicKey}\n`);
  execFileSync("ssh-keygen", ["-q", "-s", file(authority), "-I", "a host", ...options, file("host.pub")], {
    stdio: "pipe",
  });
  return file("host-cert.pub");
}

/** A server that presents a certificate; `change` may damage it. */
async function serving<T>(
  options: string[],
  work: (sshd: Sshd) => Promise<T>,
  {
    authority = "ca-ed25519",
    forwarding = "yes",
    keyType = "ed25519",
    change = (text: string): string => text,
    shown = true,
  } = {},
): Promise<T> {
  const certificate = file("shown-cert.pub");
  const settings = shown ? [`HostCertificate ${certificate}`] : [];
  const sshd = await prepareSshd(folder, ["127.0.0.1"], [...settings, `AllowTcpForwarding ${forwarding}`], keyType);
  writeFileSync(certificate, change(readFileSync(sign(sshd.hostKey, options, authority), "utf8")));
  await sshd.start();
  try {
    return await work(sshd);
  } finally {
    await sshd.stop();
  }
}

const connectionOf = (sshd: Sshd, known: string, port = sshd.port): Connection => {
  writeFileSync(file("known_hosts"), `${known}\n`);
  const found = knownHostKey(name, 22, file("known_hosts"));
  const { hosts } = settingsOf({ hosts: [{ name: "db", address: "127.0.0.1", port, user: sshd.user }] });
  const connection = connections({ hosts, waived: [] }, () => found).get("db");
  if (!connection) throw new Error("no connection");
  const certificate = connection.certificate && { ...connection.certificate, name };
  return { ...connection, privateKey: sshd.privateKey, ...(certificate && { certificate }) };
};

/** The program's result for a server: the text of a command there, or the reason for a refusal. */
async function reached(connection: Connection): Promise<string> {
  const one = (await certified(new Map([["db", connection]]))).get("db");
  if (!one) throw new Error("no connection");
  try {
    return (await runRemote(one, "echo in", "")).stdout.trim();
  } catch (error) {
    expect(error).toBeInstanceOf(Unreachable);
    // Nothing that looks like a server's key, whatever the error is.
    expect(commandConnection(one).hostKey).toBe(connection.hostKey);
    return (error as Error).message;
  }
}

/** ssh's result with the same known_hosts. */
function ssh(sshd: Sshd): string {
  const options = [
    ["UserKnownHostsFile", file("known_hosts")],
    ["GlobalKnownHostsFile", "/dev/null"],
    ["StrictHostKeyChecking", "yes"],
    ["BatchMode", "yes"],
    ["HostKeyAlias", name],
    ["HostKeyAlgorithms", "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com"],
    ["IdentitiesOnly", "yes"],
  ].flatMap(([key, value]) => ["-o", `${String(key)}=${String(value)}`]);
  const to = ["-F", "none", "-i", sshd.privateKeyFile, "-p", String(sshd.port), `${sshd.user}@127.0.0.1`, "echo in"];
  const { stdout, stderr } = spawnSync("ssh", [...options, ...to], { encoding: "utf8", timeout: 20_000 });
  return stdout.trim() || stderr.trim();
}

const taken = ["-h", "-n", name, "-V", "-1h:+1h"];
const authority = (path = "ca-ed25519", hosts = "*.example.com"): string =>
  `@cert-authority ${hosts} ${keyOf(file(path))}`;

describe("accepts what ssh accepts", () => {
  it.each(authorities)("a certificate by an authority with a key of type %s", async (type, options) => {
    for (const keyType of ["ed25519", "ecdsa"]) {
      await serving(
        [...options, ...taken],
        async (sshd) => {
          const connection = connectionOf(sshd, authority(`ca-${type}`));
          expect(await reached(connection)).toBe("in");
          expect(ssh(sshd)).toBe("in");
          // The command plugin gets the plain key, which the server must prove.
          const one = (await certified(new Map([["db", connection]]))).get("db") ?? connection;
          expect(commandConnection(one)).toMatchObject({ hostKey: sshd.hostKey.split(" ").slice(0, 2).join(" ") });
          expect(commandConnection(one)).not.toHaveProperty("certificate");
        },
        { authority: `ca-${type}`, keyType },
      );
    }
  });

  it.each([
    ["one of several names", ["-h", "-n", `mail.example.com,${name}`]],
    ["no end", ["-h", "-n", name, "-V", "always:forever"]],
  ])("a certificate with %s", async (_, options) => {
    await serving(options, async (sshd) => {
      expect(await reached(connectionOf(sshd, authority()))).toBe("in");
      expect(ssh(sshd)).toBe("in");
    });
  });
});

describe("refuses what ssh refuses", () => {
  it.each<[string, string[], RegExp, (() => string)?]>([
    ["an expired one", ["-h", "-n", name, "-V", "-2h:-1h"], /certificate has expired \(\d{4}-/],
    ["one that is not valid yet", ["-h", "-n", name, "-V", "+1h:+2h"], /certificate is valid only from \d{4}-/],
    ["one for another host", ["-h", "-n", "mail.example.com"], /is for mail\.example\.com, not for db\.example\.com/],
    ["one for a pattern", ["-h", "-n", "*.example.com"], /is for \*\.example\.com, not for db/],
    ["one of a user", ["-n", name], /certificate is for a user/],
    [
      "one of another authority",
      taken,
      /is signed by SHA256:\S+, which is not an authority/,
      () => authority("ca-ecdsa"),
    ],
    ["a revoked key", taken, /certifies a revoked key/, () => `${authority()}\n${revoked(file("host"))}`],
  ])("%s", async (_, options, why, known = authority) => {
    await serving(options, async (sshd) => {
      const text = await reached(connectionOf(sshd, known()));
      expect(text).toMatch(why);
      expect(text).toMatch(/^\S+@127\.0\.0\.1 port \d+: its key is not known, and its certificate /);
      expect(ssh(sshd)).not.toBe("in");
    });
  });

  it("a revoked authority: it is ignored, and the error comes before any connection", async () => {
    await serving(taken, (sshd) => {
      expect(() => connectionOf(sshd, `${authority()}\n${revoked(file("ca-ed25519"))}`)).toThrow(
        /the key of .* is not known/,
      );
      expect(ssh(sshd)).not.toBe("in");
      return Promise.resolve();
    });
  });

  it("a host that presents a key without a certificate", async () => {
    await serving(
      taken,
      async (sshd) => {
        expect(await reached(connectionOf(sshd, authority()))).toMatch(
          /its certificate is missing: the server offers only ssh-ed25519$/,
        );
        expect(ssh(sshd)).not.toBe("in");
      },
      { shown: false },
    );
  });
});

it("refuses a certificate with any single byte changed", async () => {
  const shown = await serving(taken, () => Promise.resolve(readFileSync(file("shown-cert.pub"), "utf8")));
  const blob = Buffer.from(shown.split(" ")[1] ?? "", "base64");
  const authorities = { authorities: [keyOf(file("ca-ed25519"))], revoked: [] };
  const now = new Date();
  expect(certifiedKey(blob, name, authorities, now)).toBe(keyOf(file("host")));
  for (let at = 0; at < blob.length; at++) {
    const spoiled = Buffer.from(blob);
    spoiled.writeUInt8(blob.readUInt8(at) ^ 1, at);
    expect(() => certifiedKey(spoiled, name, authorities, now)).toThrow(UnusableCertificate);
    expect(() => certifiedKey(blob.subarray(0, at), name, authorities, now)).toThrow(UnusableCertificate);
  }
  expect(() => certifiedKey(Buffer.concat([blob, blob]), name, authorities, now)).toThrow(
    /extra data after its signature/,
  );
});

it("refuses a certificate without a host name, which ssh accepts for every host", async () => {
  await serving(["-h"], async (sshd) => {
    expect(await reached(connectionOf(sshd, authority()))).toMatch(
      /its certificate names no host \(sign it with -n db/,
    );
  });
});

it("does not accept a stolen certificate: the connection requires its key", async () => {
  const stolen = await serving(taken, () => Promise.resolve(readFileSync(file("shown-cert.pub"), "utf8")));
  const [type = "", text = ""] = stolen.split(" ");
  // A thief lacks the certificate's key. It presents the certificate anyway, and then a key of its own.
  const one = await prepareSshd(folder, ["127.0.0.1"]);
  await one.start();
  try {
    const authorities = { authorities: [keyOf(file("ca-ed25519"))], revoked: [] };
    const hostKey = certifiedKey(Buffer.from(text, "base64"), name, authorities, new Date());
    expect(type).toBe("ssh-ed25519-cert-v01@openssh.com");
    const connection = { host: "127.0.0.1", port: one.port, user: one.user, privateKey: one.privateKey, hostKey };
    await expect(runRemote(connection, "echo in", "")).rejects.toThrow(
      /its key SHA256:\S+ does not match the known one/,
    );
  } finally {
    await one.stop();
  }
});

it("queries a host through its bastion, and a bastion with a certificate too", async () => {
  await serving(["-h", "-n", `${name},127.0.0.1`], async (sshd) => {
    const inner = connectionOf(sshd, authority());
    const bastion = { ...inner };
    for (const proxy of [{ ...bastion, hostKey: keyOf(file("host")), certificate: undefined }, bastion]) {
      if (proxy.certificate === undefined) delete proxy.certificate;
      expect(await reached({ ...inner, proxy: proxy as Connection })).toBe("in");
    }
    const strange = {
      ...bastion,
      certificate: { name: "gate.example.com", authorities: [keyOf(file("other"))], revoked: [] },
    };
    expect(await reached({ ...inner, proxy: strange })).toMatch(
      /^the bastion \S+ port \d+: its key is not known, and its certificate is signed by/,
    );
  });
});

it("does not query a host past a bastion that forwards nothing", async () => {
  const work = async (sshd: Sshd): Promise<void> => {
    const inner = connectionOf(sshd, authority());
    expect(await reached({ ...inner, proxy: inner })).toMatch(/the bastion cannot reach 127\.0\.0\.1 port \d+/);
  };
  await serving(taken, work, { forwarding: "no" });
});

it("a silent host, and one with another protocol, delay no other host", async () => {
  const servers: Server[] = [];
  const listen = async (greeting: string): Promise<number> => {
    const server = createServer((socket) => {
      socket.on("error", () => undefined).write(greeting);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as { port: number }).port;
  };
  try {
    await serving(taken, async (sshd) => {
      const known = authority();
      const all = new Map([
        ["good", connectionOf(sshd, known)],
        ["silent", connectionOf(sshd, known, await listen(""))],
        ["web", connectionOf(sshd, known, await listen("HTTP/1.1 400 Bad Request\r\n".repeat(5000)))],
        ["nobody", connectionOf(sshd, known, 9)],
      ]);
      const found = await certified(all);
      expect(found.get("good")?.unverified).toBeUndefined();
      expect(found.get("silent")?.unverified).toMatch(/no answer within 15 s$/);
      expect(found.get("web")?.unverified).toMatch(/it does not speak SSH$/);
      expect(found.get("nobody")?.unverified).toMatch(/ECONNREFUSED/);
    });
  } finally {
    for (const server of servers) server.close();
  }
});

it("refuses two entries with one certified key as one machine, and sends nothing to the second", async () => {
  await serving(taken, async (sshd) => {
    const one = connectionOf(sshd, authority());
    const found = await certified(
      new Map([
        ["db", one],
        ["alias", one],
      ]),
    );
    expect(found.get("db")?.unverified).toBeUndefined();
    expect(found.get("alias")?.unverified).toMatch(/^has the host key of db\. If both are one machine, remove one/);
  });
});

it("makes no connection without an authority", async () => {
  const reach = new Map([["db", { host: "192.0.2.1", port: 22, user: "root", hostKey: "ssh-ed25519 AAAA" }]]);
  expect(await certified(reach)).toBe(reach);
});
