/**
 * The behaviour of the command plugin that the program relies on, through the engine and against a real SSH server. Whichever
 * plugin the engine would use runs here: one on PATH, the official one, or this project's fallback.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { remote } from "@pulumi/command";
import { Server } from "ssh2";
import { freePort, makeKey, connectionTo, prepareSshd, type Sshd } from "../../toolchain/command-provider/testing/sshd";
import { type Resource, secret, Stack } from "../../toolchain/command-provider/testing/stack";
import { run } from "../../toolchain/run";

jest.setTimeout(120_000);

type Connection = Exclude<remote.CommandArgs["connection"], Promise<unknown>> & remote.CommandArgs["connection"];

const folder = mkdtempSync(join(tmpdir(), "command-"));
const trace = join(folder, "trace");
let sshd: Sshd;

beforeAll(async () => {
  sshd = await prepareSshd(folder, ["127.0.0.21"], ["AcceptEnv PULUMI_COMMAND_* GREETING"]);
  await sshd.start();
});

afterAll(async () => {
  await sshd.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A connection to the test's server. */
function connection(changes: Partial<Record<string, unknown>> = {}): Connection {
  return connectionTo(sshd, changes) as unknown as Connection;
}

/** The same without a private key. */
function keyless(changes: Partial<Record<string, unknown>> = {}): Connection {
  return connection({ privateKey: undefined, ...changes });
}

function mark(word: string): string {
  return `echo ${word} >>'${trace}'`;
}

/** The lines that the commands have recorded since the last call. */
function traced(): string[] {
  const words = existsSync(trace) ? readFileSync(trace, "utf8").trim().split("\n") : [];
  rmSync(trace, { force: true });
  return words;
}

function newStack(name: string): Promise<Stack> {
  mkdirSync(join(folder, name));
  return Stack.create(join(folder, name));
}

describe("the life of a command", () => {
  const content = 'it\'s "quoted" $HOME\n\ttäb\nno newline at the end';
  const target = join(folder, "target");
  const resource = (changes: Partial<remote.CommandArgs> = {}): Resource[] => [
    {
      name: "file",
      args: {
        create: `cat >'${target}'; ${mark("create")}; echo made; echo noted >&2`,
        delete: `rm '${target}'; ${mark("delete")}`,
        stdin: content,
        triggers: ["one"],
        connection: connection(),
        ...changes,
      },
    },
  ];
  let stack: Stack;

  test("create gets its complete stdin, and its output is kept", async () => {
    stack = await newStack("life");
    await stack.up(resource());
    expect(readFileSync(target, "utf8")).toBe(content);
    expect(stack.state("file")?.outputs).toMatchObject({ stdout: "made", stderr: "noted" });
    expect(traced()).toEqual(["create"]);
  });

  test("nothing runs when nothing has changed", async () => {
    await stack.up(resource());
    expect(traced()).toEqual([]);
  });

  test("a preview shows the changed lines of stdin, and runs nothing", async () => {
    const { stdout } = await stack.preview(resource({ stdin: `${content}\nadded` }));
    expect(stdout).toMatch(/~ command:remote:Command: \(update\)/);
    expect(stdout).toMatch(/\+ added/);
    expect(stdout).not.toContain(sshd.privateKey.split("\n")[1]);
    expect(traced()).toEqual([]);
  });

  test("changed stdin runs create again if there is no update", async () => {
    await stack.up(resource({ stdin: "second" }));
    expect(readFileSync(target, "utf8")).toBe("second");
    expect(traced()).toEqual(["create"]);
  });

  test("changed stdin runs update if there is one, with the last output in its environment", async () => {
    const update = `cat >'${target}'; ${mark('"update $PULUMI_COMMAND_STDOUT $PULUMI_COMMAND_STDERR"')}`;
    await stack.up(resource({ stdin: "third", update }));
    expect(readFileSync(target, "utf8")).toBe("third");
    expect(traced()).toEqual(["update made noted"]);
  });

  test("changed triggers replace it, even if there is an update: the new create, then the old delete", async () => {
    const { id } = stack.state("file") ?? {};
    await stack.up(resource({ update: mark("update"), create: mark("newcreate"), triggers: ["two"] }));
    expect(traced()).toEqual(["newcreate", "delete"]);
    expect(stack.state("file")?.id).not.toBe(id);
    expect(existsSync(target)).toBe(false);
  });

  test("addPreviousOutputInEnv: false leaves the environment unchanged", async () => {
    const update = mark('"<$PULUMI_COMMAND_STDOUT>"');
    await stack.up(resource({ update: "echo output", create: mark("newcreate"), triggers: ["two"] }));
    await stack.up(resource({ update, addPreviousOutputInEnv: false, triggers: ["two"], delete: mark("deleted") }));
    expect(traced()).toEqual(["<>"]);
  });

  test("destroy runs the delete of the last deployment", async () => {
    await stack.destroy();
    expect(traced()).toEqual(["deleted"]);
    expect(stack.state("file")).toBeUndefined();
  });
});

describe("failures", () => {
  let stack: Stack;
  let said: string;
  const key = (): string => sshd.privateKey.split("\n")[1] ?? "";

  beforeAll(async () => {
    stack = await newStack("failures");
    const otherKey = join(folder, "other_key");
    await makeKey(otherKey);
    const { stdout } = await stack.tryUp([
      {
        name: "exit",
        args: { create: `${mark("ran")}; echo to stdout; echo to stderr >&2; exit 3`, connection: connection() },
      },
      {
        name: "impostor",
        args: {
          create: mark("impostor"),
          connection: connection({ hostKey: readFileSync(`${otherKey}.pub`, "utf8") }),
        },
      },
      {
        name: "nobody",
        args: { create: "true", connection: connection({ port: await freePort("127.0.0.21") }) },
      },
      {
        name: "stranger",
        args: { create: mark("stranger"), connection: connection({ privateKey: readFileSync(otherKey, "utf8") }) },
      },
      {
        name: "refused",
        args: { create: mark("refused"), environment: { NOT_ACCEPTED: "x" }, connection: connection() },
      },
      {
        name: "discreet",
        args: {
          create: "cat >/dev/null; exit 1",
          stdin: secret("hunter2 is the password"),
          logging: "none",
          connection: connection(),
        },
      },
      { name: "fine", args: { create: "true", connection: connection() } },
    ]);
    said = stdout;
  });

  test("a non-zero exit fails, and shows the command and its output", () => {
    expect(said).toContain("exited with status 3");
    expect(said).toContain("exit 3");
    expect(said).toContain("to stdout");
    expect(said).toContain("to stderr");
  });

  test("another host key is refused, and nothing runs", () => {
    expect(said).toContain("host key mismatch");
    expect(traced()).toEqual(["ran"]);
  });

  test("a host that does not answer, and one that refuses the login, fail after the last attempt", () => {
    expect(said).toMatch(/after \d+ failed attempts: .*ECONNREFUSED|connection refused/i);
    expect(said).toMatch(/authenticat/);
  });

  test("a variable that the host does not accept fails before the command runs", () => {
    expect(said).toContain("NOT_ACCEPTED");
  });

  test("failed resources are not in the state, successful ones are", () => {
    expect(stack.state("fine")).toBeDefined();
    for (const name of ["exit", "impostor", "nobody", "stranger", "refused", "discreet"]) {
      expect(stack.state(name)).toBeUndefined();
    }
  });

  test("no key or secret appears in the output", () => {
    expect(said).not.toContain(key());
    expect(said).not.toContain("hunter2");
  });

  test("a failed create runs again, and so does a failed update", async () => {
    const retry = (create: string): Resource[] => [{ name: "exit", args: { create, connection: connection() } }];
    await stack.up(retry(mark("first")));
    await stack.tryUp(retry(`${mark("failing")}; false`));
    await stack.tryUp(retry(`${mark("failing")}; false`));
    await stack.up(retry(mark("mended")));
    expect(traced()).toEqual(["first", "failing", "failing", "mended"]);
  });
});

describe("connecting and transferring data", () => {
  let stack: Stack;
  let said: string;
  let bastion: Sshd;
  let agent: ChildProcess;
  let late: Sshd;
  let passwordHost: PasswordHost;

  beforeAll(async () => {
    bastion = await prepareSshd(folder, ["127.0.0.22"]);
    late = await prepareSshd(folder, ["127.0.0.23"]);
    await bastion.start();

    const agentSocketPath = join(folder, "agent");
    agent = spawn("ssh-agent", ["-D", "-a", agentSocketPath], { stdio: "ignore" });
    while (!existsSync(agentSocketPath)) await sleep(20);
    await run("ssh-add", ["-q", sshd.privateKeyFile], { env: { ...process.env, SSH_AUTH_SOCK: agentSocketPath } });

    const encrypted = join(folder, "encrypted_key");
    await run("cp", [sshd.privateKeyFile, encrypted]);
    await run("ssh-keygen", ["-q", "-p", "-P", "", "-N", "open sesame", "-f", encrypted]);

    passwordHost = await startPasswordHost(folder);

    stack = await newStack("ways");
    const starting = startWhenDialled(late);
    const { stdout } = await stack.up([
      { name: "agent", args: { create: "echo by agent", connection: keyless({ agentSocketPath }) } },
      {
        name: "encrypted",
        args: {
          create: "echo by encrypted key",
          connection: connection({ privateKey: readFileSync(encrypted, "utf8"), privateKeyPassword: "open sesame" }),
        },
      },
      {
        name: "password",
        args: {
          create: "echo by password",
          connection: keyless({ ...passwordHost.endpoint, user: "alice", password: "open sesame" }),
        },
      },
      {
        name: "proxy",
        args: {
          create: "echo by proxy",
          connection: connection({
            proxy: {
              host: bastion.addresses[0],
              port: bastion.port,
              user: bastion.user,
              hostKey: bastion.hostKey,
              privateKey: bastion.privateKey,
            },
          }),
        },
      },
      {
        name: "late",
        args: {
          create: "echo in the end",
          connection: connection({
            host: late.addresses[0],
            port: late.port,
            hostKey: late.hostKey,
            privateKey: late.privateKey,
            dialErrorLimit: 10,
          }),
        },
      },
      {
        name: "greeting",
        args: { create: 'echo "$GREETING"', environment: { GREETING: "it's me" }, connection: connection() },
      },
      { name: "loud", args: { create: "echo seen-by-all; echo seen-as-well >&2", connection: connection() } },
      {
        name: "quiet",
        args: { create: "echo seen-by-none; echo nor-this >&2", logging: "none", connection: connection() },
      },
      {
        name: "stderr",
        args: { create: "echo hidden-stdout; echo shown-stderr >&2", logging: "stderr", connection: connection() },
      },
      {
        name: "secretive",
        args: { create: "rev", stdin: secret("hunter2"), logging: "none", connection: connection() },
        options: { additionalSecretOutputs: ["stdout"] },
      },
      {
        name: "large",
        args: { create: "wc -c; seq 100000", stdin: "x".repeat(3_000_000), logging: "none", connection: connection() },
      },
    ]);
    await starting;
    said = stdout;
  });

  afterAll(async () => {
    agent.kill();
    passwordHost.stop();
    await bastion.stop();
    await late.stop();
  });

  function stdoutOf(name: string): unknown {
    return stack.state(name)?.outputs.stdout;
  }

  test("a key from the ssh-agent, and one with a passphrase", () => {
    expect(stdoutOf("agent")).toBe("by agent");
    expect(stdoutOf("encrypted")).toBe("by encrypted key");
  });

  test("a password", () => {
    expect(stdoutOf("password")).toBe("ran: echo by password");
    expect(passwordHost.logins).toContain("alice");
  });

  test("a bastion", () => {
    expect(stdoutOf("proxy")).toBe("by proxy");
    expect(bastion.log()).toContain("Accepted publickey");
  });

  test("a host that starts during the connection attempts", () => {
    expect(stdoutOf("late")).toBe("in the end");
  });

  test("environment reaches the command", () => {
    expect(stdoutOf("greeting")).toBe("it's me");
  });

  test("output is shown as it arrives, unless logging is set otherwise, and is kept either way", () => {
    expect(said).toContain("seen-by-all");
    expect(said).toContain("seen-as-well");
    expect(said).toContain("shown-stderr");
    expect(said).not.toContain("hidden-stdout");
    expect(said).not.toContain("seen-by-none");
    expect(said).not.toContain("nor-this");
    expect(stdoutOf("quiet")).toBe("seen-by-none");
    expect(stack.state("quiet")?.outputs.stderr).toBe("nor-this");
  });

  test("large input and output arrive completely", () => {
    const lines = String(stdoutOf("large")).split("\n");
    expect(lines[0]).toBe("3000000");
    expect(lines.at(-1)).toBe("100000");
    expect(lines).toHaveLength(100_001);
  });

  test("keys, secret input and outputs marked secret are encrypted in the state, and never shown", () => {
    for (const text of [stack.rawState(), said]) {
      expect(text).not.toContain(sshd.privateKey.split("\n")[1]);
      expect(text).not.toContain("open sesame");
      expect(text).not.toContain("hunter2");
      expect(text).not.toContain("2retnuh");
    }
    expect(stdoutOf("secretive")).toHaveProperty("ciphertext");
    expect(stack.state("secretive")?.inputs.stdin).toHaveProperty("ciphertext");
    expect(stack.state("secretive")?.inputs.connection).toHaveProperty("ciphertext");
  });
});

test("16 hosts with 12 commands each, at once", async () => {
  const addresses = Array.from({ length: 16 }, (_, index) => `127.0.1.${index + 1}`);
  const hosts = await prepareSshd(folder, addresses);
  await hosts.start();
  try {
    const stack = await newStack("many");
    const resources = addresses.flatMap((host) =>
      Array.from({ length: 12 }, (_, index): Resource => ({
        name: `${host}-${index}`,
        args: {
          create: `echo ${host}-${index}; sleep 0.1`,
          connection: connection({
            host,
            port: hosts.port,
            hostKey: hosts.hostKey,
            privateKey: hosts.privateKey,
            dialErrorLimit: 10,
          }),
        },
      })),
    );
    await stack.up(resources);
    const outputs = resources.map(({ name }) => stack.state(name)?.outputs.stdout);
    expect(outputs).toEqual(resources.map(({ name }) => name));
  } finally {
    await hosts.stop();
  }
}, 180_000);

describe("limits of the plugin", () => {
  test("output that is not UTF-8 fails a command that has succeeded; long lines of it pass up to a limit", async () => {
    const stack = await newStack("bytes");
    const long = "head -c 65535 /dev/zero | tr '\\0' x; echo";
    const { code, stdout } = await stack.tryUp([
      { name: "latin", args: { create: `${mark("latin")}; printf 'caf\\351\\n'`, connection: connection() } },
      { name: "long", args: { create: long, connection: connection() } },
    ]);
    expect(code).not.toBe(0);
    expect(stdout).toContain("string field contains invalid UTF-8");
    expect(traced()).toEqual(["latin"]);
    expect(stack.state("latin")).toBeUndefined();
    expect(stack.state("long")?.outputs.stdout).toHaveLength(65535);
  });

  test("the RSA key of a host without SHA-1 is refused", async () => {
    const rsa = await prepareSshd(folder, ["127.0.0.26"], [], "rsa");
    await rsa.start();
    try {
      const stack = await newStack("rsa");
      const { code, stdout } = await stack.tryUp([
        { name: "rsa", args: { create: mark("rsa"), connection: connectionTo(rsa) as unknown as Connection } },
      ]);
      expect(code).not.toBe(0);
      // The messages of Go's and Node's libraries.
      expect(stdout).toMatch(/no (common algorithm for|matching) host key/);
      expect(traced()).toEqual([]);
    } finally {
      await rsa.stop();
    }
  });
});

describe("resources that are not released", () => {
  test("a connection stays open after its command has ended", async () => {
    const stack = await newStack("open");
    const count = `sleep 3; ss -Htn state established 'sport = :${sshd.port}' | wc -l`;
    await stack.up([
      { name: "quick", args: { create: "true", connection: connection() } },
      { name: "counting", args: { create: count, connection: connection() } },
    ]);
    expect(stack.state("counting")?.outputs.stdout).toBe("2");
  });

  test("a silent host is waited for, whatever perDialTimeout says", async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket));
    const port = await freePort("127.0.0.27");
    await new Promise<void>((resolve) => silent.listen(port, "127.0.0.27", resolve));
    const stack = await newStack("silent");
    const engine = await stack.begin([
      {
        name: "silent",
        args: { create: "true", connection: connection({ host: "127.0.0.27", port, perDialTimeout: 1 }) },
      },
    ]);
    try {
      while (sockets.length === 0) await sleep(100);
      await sleep(5000);
      expect(engine.exitCode).toBeNull();
      expect(sockets).toHaveLength(1);
    } finally {
      engine.kill("SIGKILL");
      for (const socket of sockets) socket.destroy();
      silent.close();
      await stack.cancel();
    }
  });
});

/** Closes the first connection, and starts the server only then. */
async function startWhenDialled(server: Sshd): Promise<void> {
  await new Promise<void>((resolve) => {
    const placeholder = createServer((socket) => {
      socket.destroy();
      placeholder.close(() => {
        resolve();
      });
    });
    placeholder.listen(server.port, server.addresses[0]);
  });
  await server.start();
}

/** An SSH server that takes one password, in this process: a real account would have to be made on the machine. */
interface PasswordHost {
  endpoint: { host: string; port: number; hostKey: string };
  /** The users that logged in. */
  logins: string[];
  stop: () => void;
}

async function startPasswordHost(below: string): Promise<PasswordHost> {
  const path = join(below, "password_host_key");
  await makeKey(path);
  const logins: string[] = [];
  const server = new Server({ hostKeys: [readFileSync(path)] }, (client) => {
    client.on("error", () => undefined);
    client.on("authentication", (context) => {
      if (context.method === "password" && context.password === "open sesame") {
        logins.push(context.username);
        context.accept();
      } else {
        context.reject(["password"]);
      }
    });
    client.on("session", (accept) => {
      accept().on("exec", (acceptExec, _reject, { command }) => {
        const channel = acceptExec();
        channel.write(`ran: ${command}\n`);
        channel.exit(0);
        channel.end();
      });
    });
  });
  const host = "127.0.0.24";
  const port = await freePort(host);
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const hostKey = readFileSync(`${path}.pub`, "utf8");
  return { endpoint: { host, port, hostKey }, logins, stop: () => server.close() };
}
