import { runTool } from "./cli";
import { scan, type Scanned } from "./hosts-scan/scan";

const usage = `Print the public keys of hosts, ready to paste into the stack file. Nothing is changed.

Usage: npm run hosts:scan -- ADDRESS[:PORT]…      IPv6 with a port: [2001:db8::1]:2222

Another machine may have answered. Before you trust a key, compare its fingerprint on the host's own console:
  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`;

function show({ target, keys, fault }: Scanned): string {
  const [best] = keys;
  if (!best) return `# ${target}: ${fault ?? "no key"}`;
  if (best.type === "ssh-rsa")
    return `# ${target}: only has an RSA key, which remote commands cannot use. Generate the other keys on the host: ssh-keygen -A`;
  const others = keys.slice(1).map(({ fingerprint, type }) => `#   also ${fingerprint} (${type})`);
  return [
    `# ${target}: before you trust it, compare ${best.fingerprint} (${best.type}) on the host's console`,
    ...others,
    `hostKey: ${best.key}`,
  ].join("\n");
}

async function main(targets: string[]): Promise<number> {
  if (targets.length === 0 || targets.some((target) => target.startsWith("-"))) {
    console.error(usage);
    return targets.some((target) => /^(-h|--help)$/.test(target)) ? 0 : 2;
  }
  const scanned = await Promise.all(targets.map(scan));
  console.log(scanned.map(show).join("\n\n"));
  return scanned.every(({ keys }) => keys.length > 0) ? 0 : 1;
}

runTool(main, { failure: 2 });
