import { createServer } from "node:net";
import { randomInt } from "node:crypto";
import { asRoot } from "./privilege";

/** Addresses in use by sandbox hosts, of all users of this machine: one folder each, made by root, with the host's folder in `owner`. */
const registry = "/run/lsyncd-sandbox/addresses";

/** An address no other sandbox host has, and a port nobody listens on there. */
export interface Endpoint {
  address: string;
  port: number;
}

/** True when nobody listens on the port, at this address or at all of them. */
async function isFree({ address, port }: Endpoint): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => {
      resolve(false);
    });
    server.listen(port, address, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

/** Reserves an endpoint in 127.64.0.0/10 for the host in `dir`. The port is below 32768, where the kernel takes its own from. */
export async function reserveEndpoint(dir: string): Promise<Endpoint> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const address = `127.${randomInt(64, 128)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
    const endpoint = { address, port: randomInt(20_000, 32_000) };
    if (!(await isFree(endpoint))) continue;
    // mkdir without -p is the lock: only one can make the folder.
    const script = 'mkdir -p "$1" && mkdir "$1/$2" 2>/dev/null && printf "%s\\n" "$3" >"$1/$2/owner"';
    const reserved = await asRoot("sh", ["-c", script, "sh", registry, address, dir], { allowFailure: true });
    if (reserved.code === 0) return endpoint;
  }
  throw new Error(`No free loopback address found in 50 tries; see ${registry}`);
}

/** Gives an address back. */
export async function releaseAddress(address: string): Promise<void> {
  await asRoot("rm", ["-rf", `${registry}/${address}`]);
}

/** Gives back the addresses of hosts whose folder is gone. */
export async function releaseOrphanedAddresses(): Promise<void> {
  const script =
    'for a in "$1"/*/; do [ -f "$a/owner" ] || continue; read -r dir <"$a/owner"; [ -d "$dir" ] || rm -rf "$a"; done; exit 0';
  await asRoot("sh", ["-c", script, "sh", registry]);
}
