import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utils, type ParsedKey } from "ssh2";
import { loginKey, UnusableKey } from "../../infra/private-key";

interface Format {
  format: "pem";
  type: "pkcs8";
  cipher?: string;
  passphrase?: string;
}

const passphrase = "open 'sesame'";
const plain: Format = { format: "pem", type: "pkcs8" };
const encrypted: Format = { ...plain, cipher: "aes-256-cbc", passphrase };

/** A new key as openssl writes it, and the text of its public half as ssh has it. */
const pairs = {
  ed25519: () => generateKeyPairSync("ed25519"),
  rsa: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ecdsa: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  "ecdsa of 521 bits": () => generateKeyPairSync("ec", { namedCurve: "P-521" }),
};

/** How the libraries of the program and of the plugin parse a key. */
function parsed(key: ReturnType<typeof loginKey>): ParsedKey {
  const found = utils.parseKey(key.privateKey, key.privateKeyPassword);
  if (found instanceof Error) throw found;
  return found;
}

describe("a key in PKCS#8", () => {
  it.each(
    Object.entries(pairs).flatMap(([name, make]) => [
      [name, "plain", make, plain] as const,
      [name, "encrypted", make, encrypted] as const,
    ]),
  )("%s, %s, is accepted, and its signature matches its public half", (_name, _how, make, format) => {
    const { privateKey, publicKey } = make();
    const key = loginKey(privateKey.export(format as never).toString(), format.passphrase);
    expect(key.privateKeyPassword).toBeUndefined();
    const read = parsed(key);
    const signature = read.sign("a challenge");
    if (signature instanceof Error) throw signature;
    expect(parsed(loginKey(key.privateKey)).verify("a challenge", signature)).toBe(true);
    const { x } = publicKey.export({ format: "jwk" });
    if (x !== undefined) expect(read.getPublicSSH().includes(Buffer.from(x, "base64url"))).toBe(true);
  });

  it("of type Ed25519 is converted to a form that ssh-keygen also reads", () => {
    const { privateKey } = pairs.ed25519();
    const key = loginKey(privateKey.export(plain as never).toString());
    const folder = mkdtempSync(join(tmpdir(), "private-key-"));
    writeFileSync(join(folder, "key"), key.privateKey, { mode: 0o600 });
    const read = execFileSync("ssh-keygen", ["-y", "-P", "", "-f", join(folder, "key")], { encoding: "utf8" });
    rmSync(folder, { recursive: true });
    expect(read.trim().split(" ")[1]).toBe(parsed(key).getPublicSSH().toString("base64"));
  });

  it("that is damaged or of another type is refused", () => {
    const of = (make: () => { privateKey: { export: (format: never) => unknown } }): string =>
      String(make().privateKey.export(plain as never));
    expect(() => loginKey(of(() => generateKeyPairSync("x25519")))).toThrow(
      /has a type that ssh does not support \(x25519\)/,
    );
    expect(() => loginKey(of(() => generateKeyPairSync("ec", { namedCurve: "secp256k1" })))).toThrow(/\(secp256k1\)/);
    expect(() => loginKey("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")).toThrow("is damaged");
  });

  it("is refused with a wrong passphrase or none", () => {
    const text = pairs
      .ecdsa()
      .privateKey.export(encrypted as never)
      .toString();
    expect(() => loginKey(text, "another")).toThrow("cannot be decrypted with its privateKeyPassphrase");
    expect(() => loginKey(text)).toThrow("is encrypted, but privateKeyPassphrase is not set");
  });
});

describe("a key of ssh-keygen", () => {
  // The form of each, without a key in it: header, cipher, and the type of the public half.
  const openssh = (cipher: string, type = "ssh-ed25519"): string => {
    const text = (value: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, value.length]), Buffer.from(value)]);
    const half = text(type);
    const body = Buffer.concat([
      Buffer.from("openssh-key-v1\0"),
      ...[text(cipher), text("bcrypt"), text(""), Buffer.from([0, 0, 0, 1, 0, 0, 0, half.length]), half],
    ]);
    return `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.toString("base64")}\n-----END OPENSSH PRIVATE KEY-----\n`;
  };

  it.each(["aes256-ctr", "aes256-cbc"])("encrypted with %s is passed on unchanged with its passphrase", (cipher) => {
    const key = openssh(cipher);
    expect(loginKey(key.replaceAll("\n", "\r\n"), passphrase)).toEqual({
      privateKey: key,
      privateKeyPassword: passphrase,
    });
  });

  it.each(["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr"])(
    "encrypted with %s, which the command plugin does not support, is refused, and the error says what to do",
    (cipher) => {
      const attempt = (): unknown => loginKey(openssh(cipher), passphrase);
      expect(attempt).toThrow(UnusableKey);
      expect(attempt).toThrow(`is encrypted with ${cipher}, `);
      expect(attempt).toThrow("ssh-keygen -p -Z aes256-ctr -f COPY");
    },
  );

  it.each([
    ["encrypted without its passphrase", openssh("aes256-ctr"), "is encrypted, but privateKeyPassphrase is not set"],
    [
      "of a security key",
      openssh("none", "sk-ssh-ed25519@openssh.com"),
      "belongs to a security key (sk-ssh-ed25519@openssh.com)",
    ],
    ["truncated", openssh("none").replace(/\n.*\n/, "\nb3BlbnNzaC1r\n"), "is truncated"],
    [
      "of DSA",
      "-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----",
      "is not a private key that ssh supports (DSA)",
    ],
    [
      "of another program",
      "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAAAA",
      "is not a private key that ssh supports",
    ],
    [
      "in PEM, encrypted",
      "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
      "is encrypted, but privateKeyPassphrase",
    ],
  ])("%s is refused, and not shown", (_what, key, message) => {
    expect(() => loginKey(key)).toThrow(message);
    expect(() => loginKey(key)).not.toThrow("AAAA");
  });
});
