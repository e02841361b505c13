import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Server as SshServer, utils, type Connection as SshConnection, type ServerChannel } from "ssh2";
import type { Connection } from "../../infra/connection";
import { runRemote, Unreachable } from "../../infra/ssh";
import { keepalive } from "../../infra/ssh-connect";
import { fleetStatus } from "../../cli/status/fleet";
import { statusText } from "../../cli/status/report";
import { settingsOf } from "../unit/support/settings";

jest.setTimeout(120_000);

const { private: privateKey, public: hostKey } = utils.generateKeyPairSync("ed25519");

const open: { close: () => void; sockets: Set<Socket> }[] = [];
afterAll(() => {
  for (const { close, sockets } of open) {
    close();
    for (const socket of sockets) socket.destroy();
  }
});

async function listening(server: Server | SshServer, sockets = new Set<Socket>()): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push({ close: () => server.close(), sockets });
  return (server.address() as AddressInfo).port;
}

/** A server that listens at a port and does not speak SSH. */
async function noSsh(answer: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    answer(socket);
  });
  return listening(server, sockets);
}

/** An SSH server that accepts every login and handles a command in its own way. */
async function sshd(
  onCommand: (channel: () => ServerChannel) => void,
  onSession = true,
  key = privateKey,
): Promise<number> {
  const server = new SshServer({ hostKeys: [key] }, (client: SshConnection) => {
    client.on("error", () => undefined);
    client.on("authentication", (login) => {
      login.accept();
    });
    client.on("session", (accept) => {
      // Neither accepted nor refused: the request is never answered.
      if (!onSession) return;
      accept().on("exec", (take) => {
        onCommand(take);
      });
    });
  });
  return listening(server);
}

const to = (port: number): Connection => ({ host: "127.0.0.1", port, user: "root", hostKey, password: "hunter2" });

/** The result of a command there; checks that it arrived in time. */
async function outcome(port: number, seconds = 60): Promise<Error> {
  const error = await runRemote(to(port), "true", "", seconds).then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason as Error,
  );
  expect(error.message).not.toContain("hunter2");
  return error;
}

describe("a faulty or hostile host", () => {
  // These wait at the same time: each takes the full timeout.
  let silent: Promise<Error>;
  let talking: Promise<Error>;
  let stuck: Promise<Error>;
  beforeAll(async () => {
    silent = outcome(await noSsh(() => undefined));
    talking = outcome(await noSsh((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")));
    stuck = outcome(await sshd(() => undefined, false));
  });

  it("closes the connection at once", async () => {
    const error = await outcome(await noSsh((socket) => socket.destroy()));
    expect(error).toBeInstanceOf(Unreachable);
    expect(error.message).toMatch(/^root@127\.0\.0\.1 port \d+: /);
  });

  it.each([
    ["bytes", Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7919) % 256))],
    ["a greeting and then bytes", Buffer.concat([Buffer.from("SSH-2.0-x\r\n"), Buffer.alloc(100_000, 0xff)])],
  ])("answers %s", async (_, answer) => {
    const error = await outcome(await noSsh((socket) => socket.write(answer)));
    expect(error).toBeInstanceOf(Unreachable);
    expect(error.message).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
  });

  it("floods with bytes before a greeting", async () => {
    let pour = true;
    const port = await noSsh((socket) => {
      void (async () => {
        while (pour && !socket.destroyed) {
          socket.write(Buffer.alloc(65536, "x"));
          await sleep(1);
        }
      })();
    });
    const before = process.memoryUsage().heapUsed + process.memoryUsage().external;
    expect(await outcome(port)).toBeInstanceOf(Unreachable);
    pour = false;
    expect(process.memoryUsage().heapUsed + process.memoryUsage().external - before).toBeLessThan(200 * 1024 ** 2);
  });

  it("never ends the command", async () => {
    const error = await outcome(await sshd((take) => take()), 2);
    expect(error.message).toBe("no answer within 2 s");
  });

  it("prints endlessly", async () => {
    let going = true;
    const port = await sshd((take) => {
      const channel = take();
      channel.on("error", () => undefined);
      void (async () => {
        while (going) {
          channel.write("y\n".repeat(32_768));
          await sleep(1);
        }
      })();
    });
    expect((await outcome(port, 60)).message).toBe("it printed more than 4 MiB");
    going = false;
  });

  it("disconnects during the command", async () => {
    const server = new SshServer({ hostKeys: [privateKey] }, (client: SshConnection) => {
      client.on("error", () => undefined);
      client.on("authentication", (login) => {
        login.accept();
      });
      client.on("session", (accept) => {
        accept().on("exec", (take) => {
          take().write("half of it");
          setTimeout(() => client.end(), 50);
        });
      });
    });
    expect((await outcome(await listening(server))).message).toBe("the connection was closed before the command ended");
  });

  describe("runs for hours without output", () => {
    const usual = { ...keepalive };
    beforeEach(() => Object.assign(keepalive, { seconds: 0.2, unanswered: 5 }));
    afterEach(() => Object.assign(keepalive, usual));

    /** A proxy to a port, in which `watch` sees every packet; it forwards while that returns true. */
    const through = async (port: number, watch: (socket: Socket) => boolean): Promise<number> =>
      noSsh((socket) => {
        const onward = connect(port, "127.0.0.1").on("error", () => undefined);
        socket.on("data", (data) => watch(socket) && onward.write(data));
        onward.on("data", (data) => watch(socket) && socket.write(data));
        socket.on("close", () => onward.destroy());
      });

    it("and a firewall that drops silent connections keeps this one open", async () => {
      const quiet = await sshd((take) => {
        const channel = take();
        setTimeout(() => {
          channel.exit(0);
          channel.end();
        }, 4000);
      });
      let timer: NodeJS.Timeout | undefined;
      const port = await through(quiet, (socket) => {
        clearTimeout(timer);
        timer = setTimeout(() => socket.destroy(), 1500);
        return true;
      });
      expect((await runRemote(to(port), "true", "")).code).toBe(0);
      clearTimeout(timer);
    });

    it("and is not waited for once it has died", async () => {
      let began = false;
      const quiet = await sshd((take) => {
        take();
        setTimeout(() => (began = true), 500);
      });
      const port = await through(quiet, () => !began);
      await expect(runRemote(to(port), "true", "")).rejects.toThrow(/closed before the command ended/);
    }, 20_000);
  });

  it("ends a command as soon as it starts", async () => {
    const port = await sshd((take) => {
      const channel = take();
      channel.exit(3);
      channel.end();
    });
    for (let round = 0; round < 20; round += 1) expect((await runRemote(to(port), "true", "", 5)).code).toBe(3);
  });

  it("accepts the connection and stays silent", async () => {
    expect((await silent).message).toMatch(/Timed out while waiting for handshake/);
  });

  it("speaks another protocol", async () => {
    expect(await talking).toBeInstanceOf(Unreachable);
  });

  it("never starts the command", async () => {
    expect(await stuck).toBeInstanceOf(Unreachable);
    expect((await stuck).message).toMatch(/no answer within \d+ s$/);
  });

  it("prints terminal control sequences", async () => {
    const port = await sshd((take) => {
      const channel = take();
      channel.write("a\u001b[2J\u009b31m\u202eb\r\tc\n");
      channel.stderr.write("\u0007d");
      channel.exit(0);
      channel.end();
    });
    expect(await runRemote(to(port), "true", "", 5)).toEqual({ code: 0, stdout: "a�[2J�31m�b�\tc\n", stderr: "�d" });
  });
});

it("npm run status treats all of that as plain text, and waits no longer than its timeout", async () => {
  const evil = "active\u001b]0;owned\u0007\u001b[1A";
  const lines = {
    deployed: "yes",
    state: evil,
    source: "ok\u001b[2K",
    target: "x".repeat(100_000),
    backlog: "1e9",
    error: evil,
    end: "yes",
  };
  const liar = await sshd((take) => {
    const channel = take();
    channel.write(
      Object.entries(lines)
        .map(([key, value]) => `${key}\t${value}\n`)
        .join(""),
    );
    for (let number = 0; number < 10_000; number += 1) channel.write(`drift\t${number} \u001b[5m\n`);
    channel.exit(0);
    channel.end();
  });
  const silent = await noSsh(() => undefined);
  // Hosts with one key would count as one machine.
  const [other, another] = [utils.generateKeyPairSync("ed25519"), utils.generateKeyPairSync("ed25519")];
  const stuck = await sshd(() => undefined, false, another.private);
  const hosts = [
    { port: liar, hostKey },
    { port: silent, hostKey: other.public },
    { port: stuck, hostKey: another.public },
  ].map((host, index) => ({ name: `h${index}`, address: "127.0.0.1", ...host }));
  const began = Date.now();
  const all = await fleetStatus(settingsOf({ hosts, password: "hunter2" }), 4);
  expect(Date.now() - began).toBeLessThan(30_000);
  expect(all.map(({ healthy }) => healthy)).toEqual([false, false, false]);
  for (const { problems } of all.slice(1)) expect(problems).toEqual([expect.stringMatching(/ answer within 4 s$/)]);
  const text = statusText(all);
  for (const shown of [text, JSON.stringify(all)]) {
    expect(shown).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]|\\u00[01]|hunter2/);
    expect(shown.length).toBeLessThan(60_000);
  }
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThan(2000);
});
