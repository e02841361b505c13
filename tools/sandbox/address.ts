import { randomInt } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { asRoot } from "../../toolchain/privilege";

/**
 * The addresses of sandbox hosts, of all users of this machine: a folder for each, made by root, with the path of the host's own
 * folder in `owner`.
 */
const registry = "/run/lsyncd-sandbox/addresses";

/** A loopback address that no other sandbox host has, and a free port on it. */
export interface Endpoint {
  address: string;
  port: number;
}

/** True if no process listens on the port, at this address or at all of them. */
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

/** Reserves an address for the host in `dir`. False if another host has it. */
async function claim(address: string, dir: string): Promise<boolean> {
  // mkdir without -p is the lock: only one process can create the folder. A host without a folder no longer needs its address.
  const script = `set -e
mkdir -p "$1"
if ! mkdir "$1/$2" 2>/dev/null; then
  owner=$(cat "$1/$2/owner")
  [ "$owner" = "$3" ] || ! [ -d "$owner" ]
fi
printf "%s\\n" "$3" >"$1/$2/owner"`;
  return (await asRoot("sh", ["-c", script, "sh", registry, address, dir], { allowFailure: true })).code === 0;
}

/** Reserves an endpoint in 127.64.0.0/10 for the host in `dir`. The kernel assigns ports from 32768 on itself. */
export async function reserveEndpoint(dir: string): Promise<Endpoint> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const address = `127.${randomInt(64, 128)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
    const endpoint = { address, port: randomInt(20_000, 32_000) };
    if ((await isFree(endpoint)) && (await claim(address, dir))) return endpoint;
  }
  throw new Error(`No free loopback address in 50 tries. Each has a folder in ${registry}: are there leftovers?`);
}

/** Checks a host's endpoint before it boots: this machine may have restarted, or another process may listen there now. */
export async function claimEndpoint(endpoint: Endpoint, dir: string): Promise<void> {
  const { address, port } = endpoint;
  if (!(await claim(address, dir)))
    throw new Error(`Another sandbox host now has the address ${address}. Create this sandbox again.`);
  if (!(await isFree(endpoint)))
    throw new Error(`Something else listens on ${address} port ${port} (ss -ltnp). Create this sandbox again.`);
}

/** The folders of all hosts that have an address on this machine, of all users. */
export function registeredHosts(): string[] {
  if (!existsSync(registry)) return [];
  return readdirSync(registry).flatMap((address) => {
    const owner = join(registry, address, "owner");
    // It may be released meanwhile.
    return existsSync(owner) ? [readFileSync(owner, "utf8").trimEnd()] : [];
  });
}

/** Releases the address of the host in `dir`. */
export async function releaseAddress(dir: string): Promise<void> {
  const script = `for address in "$1"/*/; do
  owner=$(cat "$address/owner" 2>/dev/null) || continue
  if [ "$owner" = "$2" ]; then rm -r "$address"; fi
done
rmdir --ignore-fail-on-non-empty "$1" "\${1%/*}" 2>/dev/null
exit 0`;
  await asRoot("sh", ["-c", script, "sh", registry, dir]);
}
