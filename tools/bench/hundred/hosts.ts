import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, utils, type Connection } from "ssh2";
import type { Reachable } from "../../sandbox";

/** SSH servers in this process that answer as hosts do, each at an address of its own with a key of its own. */
export interface Answering {
  hosts: Reachable[];
  /** Connections since the last call, and the most of them open at once on all hosts together. */
  counted: () => { connections: number; atOnce: number };
  stop: () => Promise<void>;
}

/** The state of a host: the runs that its activation and its first one belong to. */
interface Memory {
  run?: string;
  since?: string;
}

const port = 2222;

/** Creates the given number of them. They do no work: an inspection, a preflight, the packages and an activation only get their answers. */
export async function answeringHosts(count: number): Promise<Answering> {
  const folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-bench-"));
  const privateKeyPath = join(folder, "id_ed25519");
  await writeFile(privateKeyPath, utils.generateKeyPairSync("ed25519").private, { mode: 0o600 });
  let [connections, open, atOnce] = [0, 0, 0];
  const servers: Server[] = [];
  const hosts: Reachable[] = [];
  for (let number = 1; number <= count; number += 1) {
    const key = utils.generateKeyPairSync("ed25519");
    const address = `127.101.${String(number >> 8)}.${String(number & 255)}`;
    const memory: Memory = {};
    const server = new Server({ hostKeys: [key.private] }, (client) => {
      connections += 1;
      open += 1;
      atOnce = Math.max(atOnce, open);
      client.on("close", () => (open -= 1));
      serve(client, memory);
    });
    await new Promise<void>((resolve, reject) => {
      server.on("error", reject).listen(port, address, resolve);
    });
    servers.push(server);
    const hostKey = key.public.split(" ").slice(0, 2).join(" ");
    hosts.push({ name: `sqlite-${String(number)}`, address, port, hostKey, privateKeyPath } as Reachable);
  }
  return {
    hosts,
    counted: () => {
      const counts = { connections, atOnce };
      [connections, atOnce] = [0, open];
      return counts;
    },
    stop: async () => {
      for (const server of servers) server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function serve(client: Connection, memory: Memory): void {
  client.on("error", () => undefined);
  // Every login is accepted: only the client is measured.
  client.on("authentication", (context) => {
    context.accept();
  });
  client.on("session", (accept) => {
    accept().on("exec", (acceptExec, _reject, { command }) => {
      const channel = acceptExec();
      // As a host does, which begins when all of it has arrived.
      channel.on("end", () => {
        channel.write(answerTo(command, memory));
        channel.exit(0);
        channel.end();
      });
      channel.resume();
    });
  });
}

/** The output of a healthy host for a command of the program. */
export function answerTo(command: string, memory: Memory): string {
  const [, step = "", run] =
    / (look|preflight|packages|activate)(?: install)?(?: run ([0-9TZ]+))?$/.exec(command) ?? [];
  if (step === "look")
    return memory.run === undefined ? "new\nlooked\n" : `run\t${memory.run}\nsince\t${memory.since ?? ""}\nlooked\n`;
  if (step !== "activate") return "";
  if (run !== undefined) memory.run = run;
  if (run !== undefined) memory.since ??= run;
  return "lsyncd: active since Sat 2026-11-28 12:00:00 UTC\ntimer: active\nversion: 2.2.3\n";
}
