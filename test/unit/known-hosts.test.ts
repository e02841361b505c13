import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { knownHostKey, pickKey } from "../../infra/known-hosts";
import { installTime, needPrograms } from "../support/programs";
import { withFiles } from "./support/languages";

const ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc";
const ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY=";
const rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ==";

describe("pickKey", () => {
  it.each([
    ["nothing", "", undefined],
    ["one line", `# Host db found: line 1\ndb ${rsa}\n`, rsa],
    ["the type OpenSSH prefers", `db ${rsa}\ndb ${ecdsa}\ndb ${ed25519}\n`, ed25519],
    ["the first of two of a type", `db ${ed25519}\ndb ${ed25519.replace("Kc", "Kd")}\n`, ed25519],
    ["a hashed name", `|1|c2FsdA==|aGFzaA== ${ed25519}\n`, ed25519],
    ["several names", `db,192.0.2.11 ${ed25519}\n`, ed25519],
    ["tabs and several blanks", `db\t${ed25519.replace(" ", "  ")}\n`, ed25519],
    ["a comment behind the key", `db ${ed25519} root@db\n`, ed25519],
    ["a revoked key", `@revoked db ${ed25519}\n`, undefined],
    ["a certificate authority", `@cert-authority *.example.com ${ed25519}\n`, undefined],
    ["a type it does not know", "db ssh-dss AAAAB3NzaC1kc3M=\n", undefined],
  ])("of %s", (_, found, key) => {
    expect(pickKey(found)).toBe(key);
  });

  it("ignores a key that another line revokes", () => {
    expect(pickKey(`@revoked db ${ed25519}\ndb ${ed25519}\ndb ${rsa}\n`)).toBe(rsa);
  });
});

describe("knownHostKey", () => {
  beforeAll(() => needPrograms("ssh-keygen"), installTime);

  const lookup = (address: string, port: number, known: string): Promise<ReturnType<typeof knownHostKey>> =>
    withFiles({ known_hosts: known }, (folder) =>
      Promise.resolve(knownHostKey(address, port, `${folder}/known_hosts`)),
    );

  it("finds a host by name, and by name and port", async () => {
    const known = `db.example.com ${ed25519}\n[db.example.com]:2222 ${ecdsa}\n`;
    expect(await lookup("db.example.com", 22, known)).toBe(ed25519);
    expect(await lookup("db.example.com", 2222, known)).toBe(ecdsa);
    expect(await lookup("db.example.com", 2223, known)).toBeUndefined();
    expect(await lookup("other.example.com", 22, known)).toBeUndefined();
  });

  it("finds an IPv6 address, with and without a port, also where names are hashed", async () => {
    const known = `2001:db8::1 ${ed25519}\n[2001:db8::1]:2222 ${ecdsa}\n`;
    for (const hashed of [false, true]) {
      await withFiles({ known_hosts: known }, (folder) => {
        const file = `${folder}/known_hosts`;
        if (hashed) {
          execFileSync("ssh-keygen", ["-q", "-H", "-f", file], { stdio: "ignore" });
          expect(readFileSync(file, "utf8")).not.toContain("2001");
        }
        expect(knownHostKey("2001:db8::1", 22, file)).toBe(ed25519);
        expect(knownHostKey("2001:db8::1", 2222, file)).toBe(ecdsa);
        return Promise.resolve();
      });
    }
  });

  it("ignores a key that a pattern revokes", async () => {
    expect(await lookup("db.example.com", 22, `@revoked * ${ed25519}\ndb.example.com ${ed25519}\n`)).toBeUndefined();
  });

  it("returns the authorities for a host without a key, also those for its name without the port, and the revoked ones", async () => {
    const known = `@revoked * ${ed25519}\ndb.example.com ${ed25519}\n@cert-authority *.example.com ${ecdsa}\n`;
    const found = { authorities: [ecdsa], revoked: [ed25519] };
    expect(await lookup("db.example.com", 22, known)).toEqual(found);
    expect(await lookup("db.example.com", 2222, known)).toEqual({
      ...found,
      revoked: expect.arrayContaining([ed25519]) as string[],
    });
    expect(await lookup("db.example.org", 22, known)).toBeUndefined();
  });

  it("prefers a key to an authority, and ignores a revoked authority", async () => {
    const known = `@cert-authority *.example.com ${ecdsa}\n`;
    expect(await lookup("db.example.com", 22, `${known}db.example.com ${rsa}\n`)).toBe(rsa);
    expect(await lookup("db.example.com", 22, `${known}@revoked * ${ecdsa}\n`)).toBeUndefined();
  });

  it("finds nothing when there is no file", () => {
    expect(knownHostKey("db.example.com", 22, "/nowhere/known_hosts")).toBeUndefined();
  });
});
