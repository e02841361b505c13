import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { simpleParser, type ParsedMail } from "mailparser";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { until } from "../../tools/sandbox";
import { run } from "../../toolchain/run";
import { needPrograms } from "./programs";

/** A mail as the server received it. */
export interface ReceivedMail {
  /** The envelope's sender and recipients. */
  from: string;
  to: string[];
  /** The user who logged in, and whether the connection was encrypted. */
  user: string | undefined;
  secure: boolean;
  /** The bytes after DATA. */
  raw: Buffer;
  message: ParsedMail;
}

/** A certificate for one address, and the authority to trust. */
export interface Certificate {
  key: string;
  cert: string;
  authority: string;
}

/** Makes an authority and its certificate for an IP address, with openssl. */
export async function makeCertificate(address: string): Promise<Certificate> {
  await needPrograms("openssl");
  const folder = await mkdtemp(join(tmpdir(), "mail-"));
  const path = (name: string) => join(folder, name);
  try {
    const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    await run("openssl", [
      ...request,
      ...["-keyout", path("ca.key"), "-out", path("ca.pem"), "-subj", "/CN=Test authority"],
    ]);
    await run("openssl", [
      ...request,
      ...["-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-keyout", path("key"), "-out", path("cert")],
      ...["-subj", `/CN=${address}`, "-addext", `subjectAltName=IP:${address}`],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
    ]);
    const [key, cert, authority] = await Promise.all(
      ["key", "cert", "ca.pem"].map((name) => readFile(path(name), "utf8")),
    );
    return { key: key ?? "", cert: cert ?? "", authority: authority ?? "" };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The behaviour of a test's mail server. */
export interface MailServerOptions {
  /** The loopback address it listens on. */
  address: string;
  /** A free port by default. */
  port?: number;
  /** If set, STARTTLS is offered; with `implicitTls`, the connection is encrypted from the start. */
  certificate?: Certificate;
  implicitTls?: boolean;
  /** If set, a client must log in before it sends. */
  login?: { user: string; password: string };
  /** Recipients that are rejected. */
  refused?: string[];
  /** Recipients that are deferred (450). */
  later?: string[];
  /** Never answer to the end of a mail. */
  silent?: boolean;
  /** Allow a login without encryption. */
  plainLogin?: boolean;
  /** An error for every mail. */
  failure?: "421 at the greeting" | "451 after the text" | "550 after the text" | "cut connection";
}

const refusal = (text: string, responseCode: number): Error => Object.assign(new Error(text), { responseCode });

/** A real SMTP server on loopback that keeps the mails it receives. */
export class MailServer {
  readonly mails: ReceivedMail[] = [];
  private accepting = false;
  private constructor(
    private readonly server: SMTPServer,
    readonly address: string,
    readonly port: number,
  ) {}

  /** Starts a server; `stop` ends it. */
  static async start(options: MailServerOptions): Promise<MailServer> {
    const {
      address,
      port = 0,
      certificate,
      implicitTls = false,
      login,
      refused = [],
      later = [],
      silent = false,
    } = options;
    const { failure, plainLogin = false } = options;
    const settings: SMTPServerOptions = {
      secure: implicitTls,
      ...(certificate ? { key: certificate.key, cert: certificate.cert } : {}),
      disabledCommands: [...(certificate && !implicitTls ? [] : ["STARTTLS"]), ...(login ? [] : ["AUTH"])],
      authOptional: login === undefined,
      // Enforced by the test server to show what a client does by itself: a login is refused unless encrypted.
      allowInsecureAuth: plainLogin,
      onConnect: (_session, answer) => {
        answer(failure === "421 at the greeting" && !sink.accepting ? refusal("try again later", 421) : null);
      },
      disableReverseLookup: true,
      onAuth: ({ username, password }, _session, answer) => {
        if (username === login?.user && password === login?.password) answer(null, { user: username });
        else answer(new Error("wrong user or password"));
      },
      onRcptTo: ({ address: recipient }, _session, answer) => {
        if (sink.accepting) answer(null);
        else if (refused.includes(recipient)) answer(refusal("no such user", 550));
        else answer(later.includes(recipient) ? refusal("greylisted", 450) : null);
      },
      onData: (stream, session, answer) => {
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          const raw = Buffer.concat(chunks);
          if (silent) return;
          if (failure !== undefined && !sink.accepting) {
            if (failure === "cut connection") {
              for (const { _socket } of server.connections as Set<{ _socket: Socket }>) _socket.destroy();
            } else answer(refusal("no", failure === "451 after the text" ? 451 : 550));
            return;
          }
          void simpleParser(raw).then((message) => {
            const { mailFrom, rcptTo } = session.envelope;
            sink.mails.push({
              from: mailFrom ? mailFrom.address : "",
              to: rcptTo.map((recipient) => recipient.address),
              user: session.user as string | undefined,
              secure: session.secure,
              raw,
              message,
            });
            answer();
          }, answer);
        });
      },
    };
    const server = new SMTPServer(settings);
    server.on("error", () => undefined); // a client that hangs up
    server.listen(port, address);
    await once(server.server, "listening");
    const sink = new MailServer(server, address, (server.server.address() as AddressInfo).port);
    return sink;
  }

  /** Accepts every mail for every recipient from now on. */
  accept(): void {
    this.accepting = true;
  }

  /** The subjects of the received mails, oldest first. */
  get subjects(): string[] {
    return this.mails.map(({ message }) => message.subject ?? "");
  }

  /** Waits until this many mails have arrived, and returns the last. Throws after `seconds`. */
  async mail(count: number, seconds = 30): Promise<ReceivedMail> {
    const there = () => `There are: ${JSON.stringify(this.subjects)}`;
    await until(`${count} mails are there`, seconds * 1000, () => this.mails.length >= count, there);
    const mail = this.mails[count - 1];
    if (mail === undefined) throw new Error("no mail");
    return mail;
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.server.close(resolve);
    });
  }
}

/** A heartbeat server: the monitor calls it after each run. It records the requested paths. */
export class HeartbeatServer {
  readonly calls: string[] = [];
  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  /** Starts a server; a silent one never answers. */
  static async start(address: string, { silent = false } = {}): Promise<HeartbeatServer> {
    const server = createServer((request, response) => {
      heart.calls.push(request.url ?? "");
      if (!silent) response.end("OK");
    });
    server.listen(0, address);
    await once(server, "listening");
    const heart = new HeartbeatServer(server, `http://${address}:${(server.address() as AddressInfo).port}`);
    return heart;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.server.close(() => {
        resolve();
      });
    });
  }
}
