/**
 * A process of its own: passes TCP connections on, each byte half a round trip later, as a line of that length would. The program's
 * arguments are milliseconds of a round trip, and the routes as JSON. Prints "ready" when it listens.
 * Not like a real line: it loses nothing, and a connection's window is never too small for it.
 */
import { connect, createServer, type Socket } from "node:net";
import type { Route } from "./delay";

function pass(from: Socket, to: Socket, milliseconds: number): void {
  // Timers of the same length fire in the order in which they were set.
  from.on("data", (chunk) => setTimeout(() => to.write(chunk), milliseconds));
  from.on("end", () => setTimeout(() => to.end(), milliseconds));
  from.on("close", () =>
    setTimeout(() => {
      to.destroySoon();
    }, milliseconds),
  );
  from.on("error", () => undefined);
}

function serve({ listen, to }: Route, roundTrip: number): Promise<void> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.pause();
    // The host sees the connection when the three messages that open one have travelled.
    setTimeout(() => {
      const host = connect({ host: to.address, port: to.port, allowHalfOpen: true, noDelay: true });
      pass(client, host, roundTrip / 2);
      pass(host, client, roundTrip / 2);
      client.resume();
    }, roundTrip * 1.5);
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(listen.port, listen.address, resolve);
  });
}

async function main([roundTrip = "0", routes = "[]"]: string[]): Promise<void> {
  for (const route of JSON.parse(routes) as Route[]) await serve(route, Number(roundTrip));
  console.log("ready");
  // Exits with its parent.
  process.stdin.resume().on("end", () => process.exit(0));
}

void main(process.argv.slice(2));
