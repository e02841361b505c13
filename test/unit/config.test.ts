import { readSettings, SettingsError, plainSecrets } from "../../infra/config";
import { entry, faultsOf, hostKey, hostOf, settingsOf } from "./support/settings";

const other = { ...entry, name: "sqlite-2", address: "192.0.2.12" };

describe("defaults", () => {
  it("match the documentation", () => {
    expect(settingsOf({})).toMatchObject({
      waived: [],
      hosts: [
        {
          name: "sqlite-1",
          address: "192.0.2.11",
          port: 22,
          user: "root",
          hostKey,
          source: "/mnt/storage_do_1",
          target: "/mnt/storage_do_2",
          alertRecipients: ["security@forwardemail.net"],
          delay: 1,
          compress: false,
          wholeFile: true,
          rsyncOptions: ["--delete", "--delete-after", "--inplace", "--no-perms", "--omit-dir-times"],
        },
      ],
    });
    expect(settingsOf({}).hosts[0]).not.toHaveProperty("privateKey");
  });

  it("require neither an environment variable nor a host key", () => {
    const { hosts } = settingsOf({ hosts: [{ name: "a", address: "a.example.com" }] });
    expect(hosts[0]).not.toHaveProperty("hostKey");
  });
});

describe("precedence", () => {
  const stack = { source: "/mnt/stack", target: "/mnt/stack-target", alertRecipients: "stack@example.com" };
  const host = { ...entry, source: "/mnt/host", alertRecipients: ["host@example.com"] };

  it("takes the stack's value over the default", () => {
    expect(settingsOf(stack).hosts[0]).toMatchObject({ source: "/mnt/stack", alertRecipients: ["stack@example.com"] });
  });

  it("takes the host's value over the stack's, for that host only", () => {
    const { hosts } = settingsOf({ ...stack, hosts: [host, other] });
    expect(hosts.map(({ source }) => source)).toEqual(["/mnt/host", "/mnt/stack"]);
    expect(hosts.map(({ target }) => target)).toEqual(["/mnt/stack-target", "/mnt/stack-target"]);
  });

  it("takes the environment's value over all, for every host", () => {
    const env = { LSYNCD_SOURCE: "/mnt/env", LSYNCD_TARGET: "/mnt/env-t", MSMTP_RCPTS: "a@example.com,b@example.com" };
    const { hosts } = settingsOf({ ...stack, hosts: [host, other] }, env);
    const expected = { source: "/mnt/env", target: "/mnt/env-t", alertRecipients: ["a@example.com", "b@example.com"] };
    expect(hosts).toMatchObject([expected, expected]);
  });

  it("treats an empty variable as unset", () => {
    const env = { LSYNCD_SOURCE: "", LSYNCD_TARGET: "  ", MSMTP_RCPTS: "", LSYNCD_SKIP_SAFETY: "" };
    expect(settingsOf({ ...stack, hosts: [host] }, env)).toMatchObject({
      waived: [],
      hosts: [{ source: "/mnt/host", target: "/mnt/stack-target", alertRecipients: ["host@example.com"] }],
    });
  });

  it("parses numbers and booleans of the stack, which arrive as text", () => {
    const [host] = settingsOf({ delay: "5", compress: "true", wholeFile: "False" }).hosts;
    expect(host).toMatchObject({ delay: 5, compress: true, wholeFile: false });
  });

  it("keeps a false or empty value of a host", () => {
    const stack = { wholeFile: "true", rsyncOptions: ["--inplace"] };
    const [host] = settingsOf({ ...stack, hosts: [{ ...entry, wholeFile: false, rsyncOptions: [] }] }).hosts;
    expect(host).toMatchObject({ wholeFile: false, rsyncOptions: [] });
  });
});

describe.each(["LSYNCD_SKIP_SAFETY", "LSYNCD_EMPTY_SOURCE_ERASES_MIRROR"])("%s", (name) => {
  it.each([
    ["true", true],
    ["TRUE", true],
    ["True", true],
    ["false", false],
    ["FALSE", false],
    [undefined, false],
    ["", false],
  ])("parses %j as %j", (value, expected) => {
    expect(settingsOf({}, { [name]: value }).waived).toEqual(expected ? [name] : []);
  });

  it.each([["yes"], ["1"], ["0"], ["no"], ["on"], ["t"], ["truee"], ["true,false"]])("refuses %j", (value) => {
    expect(faultsOf({}, { [name]: value })).toEqual([`${name}: must be true or false, not "${value}"`]);
  });
});

it.each(["skipSafety", "waived"])("%s is refused as a setting of the stack, where it would have no effect", (key) => {
  expect(faultsOf({ [key]: "true" })).toEqual([`lsyncd:${key}: unknown setting (typo?)`]);
});

describe("configuration errors", () => {
  it("are reported together, each with the path of its key", () => {
    const faults = faultsOf(
      {
        delay: "soon",
        colour: "red",
        hosts: [
          { name: "a b", address: "192.0.2.11", ports: 5 },
          { ...other, port: 0, source: "/etc", rsyncOptions: ["--delete", "--dry-run"] },
        ],
      },
      { LSYNCD_TARGET: "relative", MSMTP_RCPTS: "a@example.com,nobody", LSYNCD_SKIP_SAFETY: "maybe" },
    );
    expect(faults.sort()).toEqual([
      'LSYNCD_SKIP_SAFETY: must be true or false, not "maybe"',
      'LSYNCD_TARGET: must be an absolute path, one that starts with /, not "relative"',
      'MSMTP_RCPTS: must be a mail address, not "nobody"',
      "lsyncd:colour: unknown setting (typo?)",
      "lsyncd:delay: must be a whole number from 1 to 3600",
      "lsyncd:hosts[0].name: must be letters, digits, dots, dashes and underscores",
      "lsyncd:hosts[0].ports: unknown setting (typo?)",
      "lsyncd:hosts[1].port: must be a whole number from 1 to 65535",
      "lsyncd:hosts[1].rsyncOptions[1]: --dry-run is not supported: nothing would be mirrored",
      'lsyncd:hosts[1].source: must not be, or be inside, a system directory, not "/etc"',
    ]);
  });

  it("appear in the message one per line, and the message says that nothing was changed", () => {
    expect(() => settingsOf({ delay: "0", colour: "red" })).toThrow(SettingsError);
    expect(() => settingsOf({ delay: "0", colour: "red" })).toThrow(
      "Invalid configuration (2 faults); no host was contacted:\n" +
        "  - lsyncd:delay: must be a whole number from 1 to 3600\n" +
        "  - lsyncd:colour: unknown setting (typo?)",
    );
    expect(() => settingsOf({ delay: "0" })).toThrow("Invalid configuration (1 fault); no host was contacted:\n");
  });

  it.each([
    [{ hosts: undefined }, "lsyncd:hosts: is missing"],
    [{ hosts: [] }, "lsyncd:hosts: must name at least one host"],
    [{ hosts: "sqlite-1" }, "lsyncd:hosts: must be a list of hosts"],
    [{ hosts: '[{"name":' }, "lsyncd:hosts: must be a list of hosts"],
    [{ hosts: { name: "a" } }, "lsyncd:hosts: must be a list of hosts"],
    [{ hosts: [{ address: "a" }] }, "lsyncd:hosts[0].name: is missing"],
    [{ hosts: [{ name: "a" }] }, "lsyncd:hosts[0].address: is missing"],
    [{ rsyncOptions: "--delete" }, "lsyncd:rsyncOptions: must be a list of rsync options"],
    [{ source: "" }, 'lsyncd:source: must be an absolute path, one that starts with /, not ""'],
    [{ alertRecipients: "" }, "lsyncd:alertRecipients: must hold at least one mail address"],
    [{ hosts: [{ ...entry, source: null }] }, "lsyncd:hosts[0].source: must be an absolute path"],
    [{ smtp: { hosts: "x" } }, "lsyncd:smtp.host: is missing"],
  ])("of %j: %s", (stack, fault) => {
    expect(faultsOf(stack)).toContain(fault);
  });

  it("include rsync options that do not apply to databases, unless rsync copies the databases", () => {
    const rsyncOptions = ["--delete", "--acls", "--xattrs"];
    const faults = faultsOf({ hosts: [entry, { ...other, rsyncOptions }] });
    expect(faults).toEqual(
      ["--acls", "--xattrs"].map(
        (option) =>
          `lsyncd:hosts[1]: the option ${option} does not apply to SQLite databases, which are copied under their locks and not by rsync; remove it from rsyncOptions, or set sqliteSafe to false`,
      ),
    );
    expect(settingsOf({ rsyncOptions, sqliteSafe: false, hosts: [entry] }).hosts).toHaveLength(1);
  });

  it("do not include settings of other programs in the stack", () => {
    const stack = { "lsyncd:hosts": JSON.stringify([entry]), "aws:region": "x", "lsyncd-other:x": "y" };
    expect(readSettings({ stack, env: {} }).hosts).toHaveLength(1);
  });
});

describe("duplicates", () => {
  it("of a name are refused", () => {
    expect(faultsOf({ hosts: [entry, { ...other, name: entry.name }] })).toEqual([
      "lsyncd:hosts[1].name: sqlite-1 is already used by lsyncd:hosts[0].name",
    ]);
  });

  it("of an address are refused, regardless of upper and lower case", () => {
    const hosts = [
      { ...entry, address: "db.example.com" },
      { ...other, address: "DB.example.com" },
      { ...other, name: "c", address: "db.example.com" },
    ];
    expect(faultsOf({ hosts })).toEqual([
      "lsyncd:hosts[1].address: db.example.com port 22 is already used by lsyncd:hosts[0].address",
      "lsyncd:hosts[2].address: db.example.com port 22 is already used by lsyncd:hosts[0].address",
    ]);
  });

  it("of an address are allowed with different ports", () => {
    expect(faultsOf({ hosts: [entry, { ...other, address: entry.address, port: 2222 }] })).toEqual([]);
  });
});

describe("source and target", () => {
  it.each([
    ["/mnt/a", "/mnt/a"],
    ["/mnt/a", "/mnt/a/"],
    ["/mnt/a", "/mnt/a/b"],
    ["/mnt/a/b", "/mnt/a"],
  ])("are refused as %s and %s", (source, target) => {
    expect(faultsOf({ source, target })).toEqual([expect.stringMatching(/same or inside each other/)]);
    expect(faultsOf({}, { LSYNCD_SOURCE: source, LSYNCD_TARGET: target })).toHaveLength(1);
  });

  it("may have names with a common prefix", () => {
    expect(faultsOf({ source: "/mnt/a", target: "/mnt/ab" })).toEqual([]);
  });

  it("are compared after all places of settings are merged", () => {
    const hosts = [entry, { ...other, target: "/mnt/env" }];
    expect(faultsOf({ hosts }, { LSYNCD_SOURCE: "/mnt/env" })).toEqual([
      expect.stringContaining("lsyncd:hosts[1]: source /mnt/env and target /mnt/env"),
    ]);
  });
});

describe("secrets", () => {
  const secret = "hunter2";
  const key = `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret}\n-----END OPENSSH PRIVATE KEY-----\n`;
  const smtp = { host: "smtp.example.com", from: "a@example.com", user: "u", password: secret };

  it("are read from encrypted settings", () => {
    expect(settingsOf({ privateKey: key }).hosts[0]?.privateKey).toBe(key);
    expect(hostOf({ smtp }).smtp).toMatchObject({ password: secret });
  });

  it.each<[string, Record<string, unknown>]>([
    ["a private key that is none", { privateKey: secret }],
    ["a private key in braces", { privateKey: `{"${secret}": "${secret}"}` }],
    ["a private key in brackets", { privateKey: `["${secret}"]` }],
    ["a private key in half of a JSON text", { privateKey: `{"${secret}` }],
    ["a good private key beside another fault", { privateKey: key, delay: "0" }],
    ["a password with a line end", { smtp: { ...smtp, password: `${secret}\n` } }],
    ["a password that is a list", { smtp: { ...smtp, password: [secret] } }],
    ["a password that is too long", { smtp: { ...smtp, password: secret.repeat(1000) } }],
    ["a password without a user", { smtp: { ...smtp, user: undefined } }],
    ["a password beside another fault", { smtp: { ...smtp, port: -1 } }],
    ["mail settings that are no object", { smtp: secret }],
    ["a heartbeat URL that is none", { heartbeatUrl: `${secret} x` }],
  ])("are not shown in an error: %s", (_, stack) => {
    const faults = faultsOf(stack);
    expect(faults.length).toBeGreaterThan(0);
    expect(faults.join("\n")).not.toContain(secret);
  });
});

describe("keys and passwords in plain text", () => {
  const hosts = JSON.stringify([{ name: "a", address: "a", becomePassword: "p" }]);

  it("are refused without being shown", () => {
    const stack = { "lsyncd:privateKey": "hunter2", "lsyncd:hosts": hosts, "lsyncd:delay": "1" };
    const faults = plainSecrets(stack, []);
    expect(faults.map((fault) => fault.split(":", 2).join(":"))).toEqual(["lsyncd:privateKey", "lsyncd:hosts"]);
    expect(faults.join()).not.toContain("hunter2");
  });

  it("are accepted when the stack encrypts them, or when that is unknown", () => {
    expect(plainSecrets({ "lsyncd:hosts": hosts }, ["lsyncd:hosts"])).toEqual([]);
    expect(plainSecrets({ "lsyncd:hosts": hosts }, undefined)).toEqual([]);
    expect(plainSecrets({ "lsyncd:hosts": '[{"name":"a"}]' }, [])).toEqual([]);
  });
});
