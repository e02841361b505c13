import * as fc from "fast-check";
import type { z } from "zod";
import * as schema from "../../infra/schema";
import { mountPath } from "./support/arbitraries";

/** The errors of a field for a value; empty if the value is valid. */
function messages(field: z.ZodType, value: unknown): string[] {
  const result = field.safeParse(value);
  return result.success ? [] : result.error.issues.map(({ message }) => message);
}

describe("volumePath", () => {
  it.each([
    ["/mnt/storage_do_1", "/mnt/storage_do_1"],
    ["/mnt/storage_do_1/", "/mnt/storage_do_1"],
    ["/mnt/storage_do_1///", "/mnt/storage_do_1"],
    ["/data", "/data"],
    ['/srv/it\'s "a" $HOME é', '/srv/it\'s "a" $HOME é'],
    ["/mnt/...", "/mnt/..."],
    ["/variable", "/variable"],
    [`/mnt/${"x".repeat(245)}`, `/mnt/${"x".repeat(245)}`],
  ])("accepts %j", (given, path) => {
    expect(schema.volumePath.parse(given)).toBe(path);
  });

  it.each([
    ["", "must be an absolute path, one that starts with /"],
    ["mnt/x", "must be an absolute path, one that starts with /"],
    ["~/x", "must be an absolute path, one that starts with /"],
    ["/", "must be the mount point of a volume"],
    ["///", "must be the mount point of a volume"],
    ["/mnt/../etc", "must be written without //, . or .."],
    ["/mnt/./x", "must be written without //, . or .."],
    ["/mnt//x", "must be written without //, . or .."],
    ["/etc", "must not be, or be inside, a system directory"],
    ["/var/lib/x", "must not be, or be inside, a system directory"],
    ["/usr/", "must not be, or be inside, a system directory"],
    ["/mnt/a\nb", "must not contain control characters such as a newline"],
    ["/mnt/a\0", "must not contain control characters such as a newline"],
    ["/mnt/\ud800", "must be valid Unicode"],
    [
      `/mnt/${"x".repeat(246)}`,
      "must be shorter: systemd's name for its mount would have 256 characters, and 255 are allowed",
    ],
    [
      `/mnt/${"é".repeat(32)}`,
      "must be shorter: systemd's name for its mount would have 266 characters, and 255 are allowed",
    ],
  ])("refuses %j", (path, message) => {
    expect(messages(schema.volumePath, path)).toEqual([expect.stringMatching(/, not ".*"$/)]);
    expect(messages(schema.volumePath, path)[0]).toContain(message);
  });

  it.each([[5], [null], [["/mnt/x"]], [true]])("refuses %j, which is not text", (value) => {
    expect(messages(schema.volumePath, value)).toEqual(["must be an absolute path"]);
  });

  it("accepts every path of ordinary names, and its own result again", () => {
    fc.assert(
      fc.property(mountPath, (path) => {
        expect(schema.volumePath.parse(schema.volumePath.parse(`${path}/`))).toBe(path);
      }),
    );
  });
});

describe("whole", () => {
  const field = schema.whole(1, 3600);

  it.each([
    [1, 1],
    [3600, 3600],
    ["5", 5],
    [" 5 ", 5],
  ])("accepts %j", (given, value) => {
    expect(field.parse(given)).toBe(value);
  });

  it.each([[0], [3601], [1.5], ["1.5"], ["five"], ["5s"], ["0x10"], [true], [null], [""], ["NaN"], [[5]]])(
    "refuses %j",
    (value) => {
      expect(messages(field, value)).toEqual(["must be a whole number from 1 to 3600"]);
    },
  );
});

describe("flag", () => {
  it.each([
    [true, true],
    [false, false],
    ["true", true],
    ["TRUE", true],
    ["False", false],
  ])("accepts %j", (given, value) => {
    expect(schema.flag.parse(given)).toBe(value);
  });

  it.each([["yes"], ["no"], ["1"], ["0"], [1], [0], [""], ["truee"], ["on"], [null]])("refuses %j", (value) => {
    expect(messages(schema.flag, value)).toEqual(["must be true or false"]);
  });
});

describe("recipients", () => {
  it.each([
    ["security@example.com", ["security@example.com"]],
    ["a@example.com,b@example.com", ["a@example.com", "b@example.com"]],
    [" a@example.com , b@example.com, ", ["a@example.com", "b@example.com"]],
    [["a@example.com"], ["a@example.com"]],
    ["o'brien+x@example.co.uk", ["o'brien+x@example.co.uk"]],
  ])("accepts %j", (given, value) => {
    expect(schema.recipients.parse(given)).toEqual(value);
  });

  it.each([
    ["nobody", 'must be a mail address, not "nobody"'],
    ["a@example.com, b", 'must be a mail address, not "b"'],
    ["a@b", 'must be a mail address, not "a@b"'],
    ["a b@example.com", 'must be a mail address, not "a b@example.com"'],
    ["a@example.com\nBcc: x@example.com", "must be a mail address, not"],
    [",", "must hold at least one mail address"],
    [[], "must hold at least one mail address"],
    [5, "must be one or more mail addresses"],
  ])("refuses %j", (given, message) => {
    expect(messages(schema.recipients, given).join()).toContain(message);
  });
});

describe("hosts", () => {
  it.each([["sqlite-1"], ["a"], ["db.example.com"], ["A_b-9"]])("accepts the name %s", (name) => {
    expect(schema.hostName.parse(name)).toBe(name);
  });
  it.each([[""], ["-a"], ["a-"], ["../x"], ["a/b"], ["a b"], ["é"], ["x".repeat(64)], [5]])(
    "refuses the name %j",
    (name) => {
      expect(messages(schema.hostName, name)).toHaveLength(1);
    },
  );

  it.each([["192.0.2.11"], ["2001:db8::1"], ["::1"], ["db.example.com"]])("accepts the address %s", (address) => {
    expect(schema.hostAddress.parse(address)).toBe(address);
  });
  it.each([[""], ["-oProxyCommand=x"], ["a b"], ["user@host"], ["[::1]"], ["$(id)"], ["a;b"], [5]])(
    "refuses the address %j",
    (address) => {
      expect(messages(schema.hostAddress, address)).toEqual(["must be a host name or an IP address"]);
    },
  );

  it.each([["root"], ["deploy"], ["_x-1"]])("accepts the user %s", (user) => {
    expect(schema.userName.parse(user)).toBe(user);
  });
  it.each([["Root"], ["-x"], ["a b"], [""], ["a;b"]])("refuses the user %j", (user) => {
    expect(messages(schema.userName, user)).toHaveLength(1);
  });

  const key = "AAAAC3NzaC1lZDI1NTE5AAAAIJ2xYFbD4cWCqsKFJuTDJmCTzmEUW0gGPGCvYIkGBkbc";
  it.each([
    [`ssh-ed25519 ${key}`, `ssh-ed25519 ${key}`],
    [` ssh-ed25519   ${key} root@host\n`, `ssh-ed25519 ${key}`],
    [`ecdsa-sha2-nistp256 ${key}=`, `ecdsa-sha2-nistp256 ${key}=`],
  ])("accepts the key %j without its comment", (given, value) => {
    expect(schema.publicKey.parse(given)).toBe(value);
  });
  it.each([[""], [key], ["ssh-ed25519"], ["SHA256:abc"], [`ssh-ed25519 ${key}$(id)`], [`host ssh-ed25519 ${key}`]])(
    "refuses the key %j",
    (given) => {
      expect(messages(schema.publicKey, given)).toEqual(["must be a public key such as `ssh-ed25519 AAAA…`"]);
    },
  );
});

describe("smtp", () => {
  const server = { host: "smtp.example.com", from: "lsyncd@example.com" };

  it("accepts the minimum, and uses TLS by default", () => {
    expect(schema.smtp.parse(server)).toEqual({ ...server, tls: "starttls" });
  });

  it.each([
    [{ user: "u", password: "p", passwordCommand: "c" }, "must not be set together with password"],
    [{ password: "hunter2" }, "is missing, although a password is set"],
    [{ user: "u" }, "must be set, or else passwordCommand, because user is set"],
    [{ user: "u", password: "hunter2", tls: "off" }, "must not be off with a password"],
    [{ user: "u", password: "hunter2\nauth off" }, "must be one line without control characters"],
    [{ user: "u", password: "hunter2".repeat(100) }, "must be shorter (480 bytes)"],
    [{ user: "u", password: "hunter2", tls: "off", host: "localhost.example.com" }, "must not be off with a password"],
    [{ user: "u", password: "hunter2", tls: "off", host: "127.example.com" }, "must not be off with a password"],
    [{ tls: "maybe" }, "must be starttls, tls or off"],
    [{ host: "-x" }, "must be a host name or an IP address"],
    [{ from: "nobody" }, "must be a mail address"],
    [{ port: 0 }, "must be a whole number from 1 to 65535"],
  ])("refuses %j", (settings, message) => {
    const said = messages(schema.smtp, { ...server, ...settings }).join();
    expect(said).toContain(message);
    expect(said).not.toContain("hunter2");
  });

  it("allows a password without TLS only to the host itself", () => {
    const local = { ...server, host: "127.0.0.1", tls: "off", user: "u", password: "p" };
    expect(messages(schema.smtp, local)).toEqual([]);
  });
});

describe("url", () => {
  it.each([["https://hc.example.com/ping/x?a=b"], ["http://127.0.0.1:8000/x"], ["http://[::1]:8/x"]])(
    "accepts %s",
    (url) => {
      expect(schema.url.parse(url)).toBe(url);
    },
  );

  it.each([["ftp://x/secret"], ["https://x/secret y"], ["-K/secret"], ["secret"], ["https://u:secret@x/"]])(
    "refuses %s without showing it",
    (url) => {
      expect(messages(schema.url, url)).toEqual(["must be a URL that starts with https:// or http://"]);
    },
  );
});
