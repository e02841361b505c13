import { check, readInputs } from "../../toolchain/command-provider/src/check";
import { diff } from "../../toolchain/command-provider/src/diff";
import { service } from "../../toolchain/command-provider/src/service";
import { Captured } from "../../toolchain/command-provider/src/ssh/captured";
import { parseHostKey } from "../../infra/ssh-connect";
import { algorithmsOf, waysIn } from "../../toolchain/command-provider/src/ssh/strict";
import { type Properties, reveal, sameValue, secret, unknown } from "../../toolchain/command-provider/src/values";
import { Work } from "../../toolchain/command-provider/src/work";

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0V0c5Uo4fBSa2VJ6n8pMfB3o1ZyqyKpdxb1s8m8pTW comment";
const connection = { host: "192.0.2.1", hostKey };

describe("values", () => {
  const value: Properties = { a: secret("x"), b: [1, secret({ c: "y" })], d: "z" };

  test("removes secret marks at any depth", () => {
    expect(reveal(value)).toEqual({ a: "x", b: [1, { c: "y" }], d: "z" });
  });

  test("marks a value as secret only once", () => {
    expect(secret(secret("x"))).toEqual(secret("x"));
  });

  test.each<[string, Properties, Properties, boolean]>([
    ["null and absent", { a: null }, {}, true],
    ["the order of keys", { a: 1, b: 2 }, { b: 2, a: 1 }, true],
    ["the order of a list", { a: [1, 2] }, { a: [2, 1] }, false],
    ["becoming secret", { a: "x" }, { a: secret("x") }, false],
    ["a number and its text", { a: 1 }, { a: "1" }, false],
    ["a list and an object", { a: [] }, { a: {} }, false],
  ])("compares values: %s: equal?", (_what, left, right, same) => {
    expect(sameValue(left, right)).toBe(same);
    expect(sameValue(right, left)).toBe(same);
  });
});

describe("checking the inputs", () => {
  test("fills in the defaults and marks the secrets", () => {
    const inputs = { create: "true", connection: { ...connection, privateKey: "k", proxy: { ...connection } } };
    const checked = check(inputs);
    expect(checked.failures).toEqual([]);
    const defaults = { port: 22, user: "root", dialErrorLimit: 10, perDialTimeout: 15 };
    expect(checked.inputs).toEqual({
      create: "true",
      connection: secret({
        ...connection,
        ...defaults,
        privateKey: secret("k"),
        proxy: { ...connection, ...defaults },
      }),
    });
  });

  test("changes nothing when it is repeated", () => {
    const once = check({ connection: { ...connection, password: "p" } }).inputs;
    expect(check(once).inputs).toEqual(once);
  });

  test("accepts values that are not known yet", () => {
    expect(check({ connection: unknown, stdin: unknown }).failures).toEqual([]);
    expect(check({ connection: { host: unknown, hostKey: unknown } }).failures).toEqual([]);
  });

  test.each<[Properties, string]>([
    [{}, "connection is missing: it selects the host"],
    [{ connection: { hostKey } }, "connection.host is missing: it is the address to connect to"],
    [
      { connection: { host: "192.0.2.1" } },
      "connection.hostKey is missing: without the host's public key anyone could answer in its place",
    ],
    [{ connection: { ...connection, proxy: { host: "h" } } }, expect.stringContaining("connection.proxy.hostKey")],
    [{ connection: { ...connection, port: "22" } }, "connection.port must be a number"],
    [{ connection: { ...connection, dialErrorLimit: 1.5 } }, "connection.dialErrorLimit must be an integer"],
    [{ connection, logging: "loud" }, "logging must be one of stdout, stderr, stdoutAndStderr, none"],
    [{ connection, environment: { A: 1 } }, "environment must be a map of strings"],
    [{ connection, triggers: "x" }, "triggers must be a list"],
    [{ connection, crate: "x" }, expect.stringContaining("crate is not a known input; known are addPrevious")],
  ])("refuses %j", (inputs, failure) => {
    expect(check(inputs).failures).toEqual([failure]);
  });

  test("shows no value in an error", () => {
    const { failures } = check({ connection: { ...connection, privatekey: "hunter2", password: 1 }, stdin: secret(7) });
    expect(failures).toHaveLength(3);
    expect(failures.join()).not.toMatch(/hunter2|7/);
  });

  test("reads inputs back from a state that contains outputs", () => {
    const state = { ...check({ connection, create: secret("true") }).inputs, stdout: "x", stderr: "" };
    expect(readInputs(state)).toMatchObject({ create: "true", connection: { host: "192.0.2.1", port: 22 } });
  });
});

describe("diff", () => {
  const old: Properties = { create: "a", stdin: "s", environment: { A: "1" }, triggers: [1, { deep: 2 }] };

  test.each<[string, Properties, Record<string, string>, string[]]>([
    ["nothing", { ...old }, {}, []],
    ["a changed text", { ...old, stdin: "t" }, { stdin: "update" }, []],
    ["an added update", { ...old, update: "u" }, { update: "add" }, []],
    ["a removed stdin", { ...old, stdin: null }, { stdin: "delete" }, []],
    ["a nested key", { ...old, environment: { A: "1", "x-y": "2" } }, { 'environment["x-y"]': "add" }, []],
    ["a trigger", { ...old, triggers: [1, { deep: 3 }] }, { "triggers[1].deep": "update" }, ["triggers"]],
    ["one trigger more", { ...old, triggers: [1, { deep: 2 }, 3] }, { "triggers[2]": "add" }, ["triggers"]],
    ["no triggers any more", { ...old, triggers: null }, { triggers: "delete" }, ["triggers"]],
    [
      "a trigger not known yet",
      { ...old, triggers: [unknown, { deep: 2 }] },
      { "triggers[0]": "update" },
      ["triggers"],
    ],
    ["a secret", { ...old, stdin: secret("s") }, { stdin: "update" }, []],
  ])("%s", (_what, news, changes, replaces) => {
    const difference = diff(old, news);
    expect(Object.fromEntries(difference.changes)).toEqual(changes);
    expect(difference.replaces).toEqual(replaces);
  });
});

describe("decoding a command's output", () => {
  const captured = (...pieces: Buffer[]): Captured => {
    const capture = new Captured();
    for (const piece of pieces) capture.add(piece);
    return capture;
  };
  const longest = "x".repeat(64 * 1024 - 1);

  test("gives the same text wherever the stream is split", () => {
    const bytes = Buffer.from("naïve – ok\n");
    for (let at = 0; at <= bytes.length; at++) {
      const capture = new Captured();
      const shown = capture.add(bytes.subarray(0, at)) + capture.add(bytes.subarray(at));
      expect([shown, capture.text, capture.fault]).toEqual(["naïve – ok\n", "naïve – ok\n", undefined]);
    }
  });

  test.each(["caf\xe9\n", "\xc3", "\xed\xa0\x80", "\xc0\xaf"])("refuses %j, which is not valid UTF-8", (text) => {
    expect(captured(Buffer.from(text, "latin1")).fault).toBe("string field contains invalid UTF-8");
  });

  test("refuses a line that is longer than the read buffer", () => {
    expect(captured(Buffer.from(`${longest}\n${longest}\n`)).fault).toBeUndefined();
    const tooLong = "a line of output is longer than 65535 bytes";
    expect(captured(Buffer.from(`a\n${longest}x\nb\n`)).fault).toBe(tooLong);
    expect(captured(Buffer.from(longest), Buffer.from("x")).fault).toBe(tooLong);
    expect(captured(Buffer.from(`${longest}\n`), Buffer.from("x")).fault).toBeUndefined();
  });
});

describe("parsing a host key", () => {
  test("accepts a line of a .pub file, with or without a comment", () => {
    expect(parseHostKey(`${hostKey}\n`).type).toBe("ssh-ed25519");
    expect(parseHostKey(hostKey.replace(" comment", ""))).toEqual(parseHostKey(hostKey));
  });

  test("requests an RSA key only with the algorithm in its name, as the official plugin does", () => {
    expect(algorithmsOf("ssh-rsa")).toEqual(["ssh-rsa"]);
  });

  test.each(["", "ssh-ed25519", hostKey.replace("ssh-ed25519 ", "ssh-rsa "), `192.0.2.1 ${hostKey}`])(
    "refuses %j",
    (line) => {
      expect(() => parseHostKey(line)).toThrow("hostKey must be a public key");
    },
  );
});

describe("authentication", () => {
  const endpoint = { ...connection, port: 22, user: "root", dialErrorLimit: 1, perDialTimeout: 1 };

  test("tries the key before the password, and the password before the agent", () => {
    const env = { SSH_AUTH_SOCK: "/run/agent" };
    expect(waysIn({ ...endpoint, privateKey: "k", password: "p" }, env)).toMatchObject({
      authHandler: ["publickey", "password", "keyboard-interactive", "agent"],
    });
    expect(waysIn(endpoint, env)).toMatchObject({ authHandler: ["agent"], agent: "/run/agent" });
    expect(waysIn({ ...endpoint, agentSocketPath: "/other" }, env)).toMatchObject({ agent: "/other" });
  });

  test("fails when no method is available", () => {
    expect(() => waysIn(endpoint, { SSH_AUTH_SOCK: "" })).toThrow("no login method");
  });
});

describe("the service", () => {
  test("refuses any other resource type, and says where to get it", async () => {
    const { check: method } = service(undefined, new Work()) as unknown as Record<string, Method>;
    type Method = (call: unknown, done: (error: { message: string } | null) => void) => void;
    const urn = "urn:pulumi:dev::lsyncd::lsyncd:index:Mirror$command:local:Command::x";
    const error = await new Promise<{ message: string } | null>((resolve) => {
      method?.({ request: { getUrn: () => urn } }, resolve);
    });
    expect(error?.message).toMatch(/has only command:remote:Command; command:local:Command needs the official one/);
  });
});

describe("shutting down", () => {
  const aborted = (signal: AbortSignal): Promise<string> =>
    new Promise((resolve) => {
      const tell = (): void => {
        resolve((signal.reason as Error).message);
      };
      if (signal.aborted) tell();
      else signal.addEventListener("abort", tell);
    });

  test("cancels current and later work, then reports that the service is idle", async () => {
    const work = new Work();
    const running = work.run(0, aborted);
    work.end(new Error("cancelled"));
    await work.whenIdle();
    expect(await running).toBe("cancelled");
    expect(await work.run(0, aborted)).toBe("cancelled");
  });

  test("kills work that takes too long to end", async () => {
    expect(await new Work().run(0.01, aborted)).toBe("timed out after 0.01 s");
  });
});
