import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** A TCP address. */
export interface Endpoint {
  address: string;
  port: number;
}

/** The two ends of a delayed connection. */
export interface Route {
  listen: Endpoint;
  to: Endpoint;
}

/** Starts the delaying proxy; returns a function that stops it. Throws if it cannot listen. */
export async function delay(routes: Route[], roundTripMs: number): Promise<() => void> {
  const proxy = spawn(
    process.execPath,
    [
      join(__dirname, "../../../toolchain/bootstrap.mjs"),
      "tools/bench/deploy/delay-proxy.ts",
      String(roundTripMs),
      JSON.stringify(routes),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const [ready] = (await Promise.race([once(proxy.stdout, "data"), once(proxy, "exit")])) as unknown[];
  if (String(ready).trim() !== "ready") throw new Error(`the proxy that delays could not start: ${String(ready)}`);
  return () => {
    proxy.stdin.end();
  };
}
