import { connect as connectTcp } from "node:net";
import type { Duplex } from "node:stream";
import type { Client, ClientChannel, ConnectConfig } from "ssh2";
import type { Connection, Endpoint } from "./connection";
import { shownCertificate } from "./shown-certificate";
import { answerQuestions, forward, keepalive, loginOptions, parseHostKey, type LoginOptions } from "./ssh-connect";
import { fingerprint } from "./ssh-format";
import { visible } from "./text";

/** The result of a command on a host. */
export interface RemoteResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** The host could not be reached, or the login failed. Nothing ran on it. */
export class Unreachable extends Error {}

/** The program has no login method for the host or its bastion, so it did not connect. */
export class NoLogin extends Unreachable {}

// Seconds to reach a host and log in: as long as one try of a remote command.
const readyTimeout = 15;

// Time limit for starting a command, in seconds, including the connection through a bastion. Without it, a host that accepts the
// connection and then sends nothing would block forever.
const beginTimeout = 40;

// Bytes: many times the normal output of any command here. A host that prints endlessly must not fill this machine's memory.
const mostOutput = 4 * 1024 * 1024;

/** A command that runs on a host. */
export interface RemoteCommand {
  channel: ClientChannel;
  /** The exit code, 255 after a signal; undefined while it runs. */
  code: () => number | undefined;
  /** Closes the connection, and the one to the bastion. */
  close: () => void;
  /** Drops both at once, without waiting for the other side. */
  drop: () => void;
  /** Starts a further command on the same connection; its `close` and `drop` leave that open. */
  another: (command: string) => Promise<RemoteCommand>;
  /** Lets this process exit although the connection is open. The connection closes with the process. */
  unref: () => void;
}

/** The result of `work`; rejects with the error of `late` if it takes longer than `seconds`. */
export async function inTime<T>(seconds: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(late());
    }, seconds * 1000);
  });
  return Promise.race([work, tooLate]).finally(() => {
    clearTimeout(timer);
  });
}

/** A started command, and its exit code once it has exited. */
type Begun = Pick<RemoteCommand, "channel" | "code">;

async function execute(client: Client, command: string): Promise<Begun> {
  let code: number | undefined;
  const channel = await new Promise<ClientChannel>((resolve, reject) => {
    client.exec(command, (error, opened) => {
      if (error) {
        reject(new Unreachable(error.message));
        return;
      }
      // Here and not later: a quick command's end comes in the same packet as its beginning.
      opened.on("exit", (status: number | null) => (code = status ?? 255));
      // If a command exits without reading its input, its exit code counts.
      opened.on("error", () => undefined);
      resolve(opened);
    });
  });
  return { channel, code: () => code };
}

/**
 * Connects to a host and starts a command there. Throws Unreachable if it does not start within `seconds`. A `silent`
 * connection sends no keepalive requests.
 */
export async function startRemote(
  connection: Connection,
  command: string,
  seconds = beginTimeout,
  silent = false,
): Promise<RemoteCommand> {
  const clients: Client[] = [];
  const { proxy, user, host, port } = connection;
  const fault = proxy?.unverified ?? connection.unverified;
  if (fault !== undefined) throw new Unreachable(fault);
  const begin = async (): Promise<{ client: Client; begun: Begun }> => {
    const bastion = proxy && (await connect(proxy, "the bastion ", clients, silent));
    const client = await connect(connection, "", clients, silent, bastion && (await through(bastion, connection)));
    return { client, begun: await execute(client, command) };
  };
  const drop = (): void => {
    for (const client of clients) client.destroy();
  };
  const late = `${user}@${host} port ${String(port)}: no answer within ${String(seconds)} s`;
  try {
    const { client, begun } = await inTime(seconds, begin(), () => new Unreachable(late));
    const close = (): void => {
      for (const one of clients.toReversed()) one.end();
    };
    const unref = (): void => {
      for (const one of clients) socketOf(one)?.unref?.();
    };
    const another = async (further: string): Promise<RemoteCommand> => {
      const more = await inTime(seconds, execute(client, further), () => new Unreachable(late));
      const leave = (): void => {
        more.channel.destroy();
      };
      return { ...more, close: () => undefined, drop: leave, another, unref };
    };
    return { ...begun, close, drop, another, unref };
  } catch (error) {
    drop();
    throw error;
  }
}

/** The certificate that the server of a connection shows, if need be through its bastion. Throws as shownCertificate does, and Unreachable. */
export async function askCertificate({ proxy, host, port }: Connection): Promise<Buffer> {
  const clients: Client[] = [];
  const streams: Duplex[] = [];
  const ask = async (): Promise<Buffer> => {
    const way = proxy && (await connect(proxy, "the bastion ", clients, true));
    const stream = way ? await through(way, { host, port }) : connectTcp(port, host);
    streams.push(stream);
    return shownCertificate(stream);
  };
  try {
    return await inTime(readyTimeout, ask(), () => new Error(`no answer within ${String(readyTimeout)} s`));
  } finally {
    for (const one of [...streams, ...clients]) one.destroy();
  }
}

/** The socket of a connection, which ssh2 has under this name; that of one through a bastion is none of the system's. */
const socketOf = (client: Client): { unref?: () => void } | undefined =>
  (client as unknown as { _sock?: { unref?: () => void } })._sock;

/**
 * Runs one command on a host over its own connection, outside of Pulumi resources. Throws Unreachable if the command could not
 * start, and like finishRemote.
 */
export async function runRemote(
  connection: Connection,
  command: string,
  stdin: string,
  seconds?: number,
): Promise<RemoteResult> {
  const begin = Math.min(seconds ?? beginTimeout, beginTimeout);
  return finishRemote(await startRemote(connection, command, begin), stdin, seconds);
}

/**
 * Passes a command its standard input and waits until it exits. Throws if that takes longer than `seconds`, if given, or if
 * it prints too much. Its output is safe to print, see text.ts.
 */
export async function finishRemote(
  { channel, code, close, drop }: RemoteCommand,
  stdin: string,
  seconds?: number,
): Promise<RemoteResult> {
  const ended = new Promise<RemoteResult>((resolve, reject) => {
    const printed = { stdout: "", stderr: "" };
    const collect = (stream: "stdout" | "stderr") => (text: string) => {
      printed[stream] += text;
      if (printed.stdout.length + printed.stderr.length > mostOutput)
        reject(new Error(`it printed more than ${String(mostOutput / 1024 ** 2)} MiB`));
    };
    channel.setEncoding("utf8").on("data", collect("stdout"));
    channel.stderr.setEncoding("utf8").on("data", collect("stderr"));
    channel.on("close", () => {
      const status = code();
      if (status !== undefined)
        resolve({ code: status, stdout: visible(printed.stdout), stderr: visible(printed.stderr) });
      else reject(new Error("the connection was closed before the command ended"));
    });
    channel.end(stdin);
  });
  try {
    const late = (): Error => new Error(`no answer within ${String(seconds)} s`);
    const result = await (seconds === undefined ? ended : inTime(seconds, ended, late));
    close();
    return result;
  } catch (error) {
    drop();
    throw error;
  }
}

/** A stream through a bastion to a host. */
async function through(bastion: Client, to: Pick<Endpoint, "host" | "port">): Promise<Duplex> {
  return forward(bastion, to).catch((error: unknown) => {
    throw new Unreachable((error as Error).message);
  });
}

async function connect(to: Endpoint, who: string, clients: Client[], silent: boolean, sock?: Duplex): Promise<Client> {
  // Loaded late: a run that contacts no host itself should not pay for it.
  const ssh2 = await import("ssh2");
  const client: Client = new ssh2.Client();
  clients.push(client);
  return new Promise<Client>((resolve, reject) => {
    let refusal = "";
    const fail = (error: Error): void => {
      client.destroy();
      const why = visible(refusal || error.message);
      const Fault = error instanceof NoLogin ? NoLogin : Unreachable;
      reject(new Fault(`${who}${to.user}@${to.host} port ${String(to.port)}: ${why}`));
    };
    client.on("error", (error) => {
      // An agent that does not answer is no reason to give up: other login methods may work.
      if ("level" in error && error.level === "agent") refusal = "the ssh-agent of SSH_AUTH_SOCK does not answer";
      else if (error.message.startsWith("All configured authentication methods failed")) fail(new Error(notLetIn(to)));
      else fail(error);
    });
    client.on("close", () => {
      fail(new Error("the host closed the connection"));
    });
    answerQuestions(client, to.password);
    client.on("ready", () => {
      resolve(client);
    });
    try {
      const known = parseHostKey(to.hostKey);
      client.connect({
        ...credentials(to),
        host: to.host,
        port: to.port,
        readyTimeout: readyTimeout * 1000,
        keepaliveInterval: silent ? 0 : keepalive.seconds * 1000,
        keepaliveCountMax: keepalive.unanswered,
        hostVerifier: (shown: Buffer) => {
          if (shown.equals(known.blob)) return true;
          refusal =
            `its key ${fingerprint(shown)} does not match the known one ` +
            `(${fingerprint(known.blob)}): another machine answers, or the host was reinstalled`;
          return false;
        },
        algorithms: { serverHostKey: keyAlgorithms(known.type) },
        ...(sock === undefined ? {} : { sock }),
      } as ConnectConfig);
    } catch (error) {
      // For a host key that is none, and of ssh2 for a private key that it cannot read.
      fail(error as Error);
    }
  });
}

/** How to log in, with the agent only if there is no private key. Throws if there is no way. */
function credentials(to: Endpoint): LoginOptions {
  const agent = process.env.SSH_AUTH_SOCK ?? "";
  const login = loginOptions(to, to.privateKey === undefined && agent !== "" ? agent : undefined);
  if (login.authHandler.length === 0) {
    throw new NoLogin("no login method: set lsyncd:privateKey or lsyncd:password, or start an ssh-agent");
  }
  return login;
}

/** The error of a host that refuses every login method: which ones were tried. */
function notLetIn(to: Endpoint): string {
  const ways: Record<string, string | undefined> = {
    publickey: "private key",
    password: "password",
    agent: "ssh-agent",
  };
  const tried = credentials(to).authHandler.flatMap((method) => ways[method] ?? []);
  return `it refuses the ${tried.join(" and the ")} of ${to.user}`;
}

/** The signature algorithms for a key type: an RSA key signs with SHA-2 (RFC 8332). */
function keyAlgorithms(type: string): string[] {
  return type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type];
}
