import { sortKeys } from "../../infra/known-hosts";
import { fingerprint } from "../../infra/ssh-format";
import { run } from "../../toolchain/run";

/** A public key that a host presents. */
export interface ShownKey {
  type: string;
  /** Type and text, as `hostKey` takes it. */
  key: string;
  /** As `ssh-keygen -l` shows it. */
  fingerprint: string;
}

/** The keys that a host presents; the key to use comes first. */
export interface Scanned {
  target: string;
  keys: ShownKey[];
  fault?: string;
}

// Seconds to wait for a host.
const timeout = 10;

/** Parses ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. An address with several colons is an IPv6 address without a port. */
export function parseTarget(target: string): { address: string; port: number } {
  const match = /^\[([^\]]+)\](?::(\d+))?$/.exec(target) ?? /^([^:]+)(?::(\d+))?$/.exec(target);
  const [, address = target, port = "22"] = match ?? [];
  if (!/^[A-Za-z0-9:][A-Za-z0-9.:_%-]*$/.test(address) || Number(port) < 1 || Number(port) > 65535) {
    throw new Error(`not ADDRESS or ADDRESS:PORT: ${target}`);
  }
  return { address, port: Number(port) };
}

/** Parses the output of ssh-keyscan. */
export function parseKeys(printed: string): ShownKey[] {
  const keys = printed
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(/\s+/).slice(1, 3).join(" "));
  return sortKeys(keys).map((key) => {
    const [type = "", text = ""] = key.split(" ");
    return { type, key, fingerprint: fingerprint(Buffer.from(text, "base64")) };
  });
}

/** Asks a host for its public keys. Never rejects because of the host; throws on an invalid address. */
export async function scan(target: string): Promise<Scanned> {
  const { address, port } = parseTarget(target);
  const args = ["-T", String(timeout), "-p", String(port), "--", address];
  const { stdout, stderr } = await run("ssh-keyscan", args, { allowFailure: true });
  const keys = parseKeys(stdout);
  if (keys.length > 0) return { target, keys };
  const errors = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return { target, keys, fault: errors.at(-1) ?? "no answer" };
}
