/**
 * Serves the disks of one virtual machine, until a power cut ends it.
 *
 *   disk-server.ts DIRECTORY IMAGE…
 *
 * In DIRECTORY/run: a socket NAME.nbd for each image, and `control`, which takes one line a connection and answers in one:
 *   cut drop|keep|random SEED      the power fails; ends the server
 *   lose drop|keep|random SEED NAME…   the power of these disks fails: they answer with I/O errors until `fail NAME none`
 *   fail NAME none|read|write      I/O errors from now on
 *   flush                          writes all caches out; for an orderly end
 */
import { rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { basename, join } from "node:path";
import { CutDisk, lossModes, seeded, type Failing, type LossMode } from "./disk";
import { serve } from "./nbd";

const [home = "", ...images] = process.argv.slice(2);
const directory = join(home, "run");
writeFileSync(join(home, "disks.pid"), `${String(process.pid)}\n`);
const disks = new Map(images.map((image) => [basename(image, ".img"), new CutDisk(image)]));
const clients = new Set<Socket>();

function listen(path: string, serveOne: (socket: Socket) => void): void {
  rmSync(path, { force: true });
  createServer((socket) => {
    clients.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => clients.delete(socket));
    serveOne(socket);
  }).listen(path);
}

function obey(line: string): string {
  const [word, first = "", second = "", ...names] = line.trim().split(" ");
  if ((word === "cut" || word === "lose") && lossModes.includes(first as LossMode)) {
    const random = seeded(Number(second));
    const lost = [...disks].flatMap(([name, disk]) =>
      word === "cut" || names.includes(name) ? [disk.cut(first as LossMode, random)] : [],
    );
    if (word === "lose") return `cut ${lost.join(" ")}`;
    for (const socket of clients) if (!socket.readableEnded) socket.pause();
    // Answered and closed: no later request of the machine gets an answer.
    setTimeout(() => process.exit(0), 20);
    return `cut ${lost.join(" ")}`;
  }
  if (word === "fail" && ["none", "read", "write"].includes(second)) {
    const disk = disks.get(first);
    if (!disk) return `no disk ${first}`;
    disk.failing = second as Failing;
    return "ok";
  }
  if (word === "flush") {
    for (const disk of disks.values()) disk.flush();
    return "ok";
  }
  return `not understood: ${line}`;
}

let over = false;
for (const [name, disk] of disks) {
  listen(join(directory, `${name}.nbd`), (socket) => {
    if (over) socket.destroy();
    else
      void serve(socket, disk).finally(() => {
        socket.destroy();
      });
  });
}
listen(join(directory, "control"), (socket) => {
  socket.once("data", (data) => {
    const line = data.toString();
    if (line.startsWith("cut ")) over = true;
    socket.end(`${obey(line)}\n`);
  });
});
