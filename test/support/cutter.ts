import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { SandboxHost } from "../../tools/sandbox";

/** Observed by a cutter: the number of the connection, from 1, and the bytes that all connections have carried. */
export interface Passed {
  connection: number;
  bytes: number;
}

/** A proxy to a host's SSH server that can cut connections. */
export class Cutter {
  /** Asked before bytes are handed on; true cuts every connection, and none can be made until `restore`. */
  cut: (passed: Passed) => boolean = () => false;
  /** Called once, when the connections are cut. */
  onCut: () => void = () => undefined;
  connections = 0;
  bytes = 0;
  isCut = false;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly host: SandboxHost,
  ) {
    server.on("connection", (client) => {
      this.forward(client);
    });
  }

  static async before(host: SandboxHost): Promise<Cutter> {
    const server = createServer();
    const cutter = new Cutter(server, host);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return cutter;
  }

  /** The host, as reached through the cutter. */
  get through(): SandboxHost {
    return { ...this.host, address: "127.0.0.1", port: (this.server.address() as AddressInfo).port };
  }

  /** Lets everything pass again, and resets the counters. */
  restore(): void {
    this.isCut = false;
    this.cut = () => false;
    this.onCut = () => undefined;
    this.connections = 0;
    this.bytes = 0;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }

  private forward(client: Socket): void {
    if (this.isCut) {
      client.destroy();
      return;
    }
    const connection = (this.connections += 1);
    const server = connect(this.host.port, this.host.address);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.sockets.add(from);
      from.on("error", () => undefined);
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroy();
      });
      from.on("data", (data: Buffer) => {
        if (this.isCut) return;
        this.bytes += data.length;
        if (this.cut({ connection, bytes: this.bytes })) {
          this.isCut = true;
          for (const socket of this.sockets) socket.destroy();
          this.onCut();
        } else to.write(data);
      });
    }
  }
}

/** Kills every process of an engine with its state in this directory, as if its machine died. */
export async function killEngine(directory: string): Promise<number> {
  let killed = 0;
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    const environment = await readFile(`/proc/${entry}/environ`, "utf8").catch(() => "");
    if (!environment.split("\0").includes(`PULUMI_BACKEND_URL=file://${directory}/state`)) continue;
    try {
      process.kill(Number(entry), "SIGKILL");
      killed += 1;
    } catch {
      // It has ended by itself.
    }
  }
  return killed;
}
