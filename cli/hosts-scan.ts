import { runTool } from "./cli";
import { scan, type Scanned } from "./hosts-scan/scan";

const usage = `Shows the public keys of hosts, ready for the stack file. It adds none: any machine may have answered, so compare
the fingerprint with one that you got in another way, such as from the provider's console:
  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub

  npm run hosts:scan -- ADDRESS[:PORT]…      an IPv6 address with a port in brackets: [2001:db8::1]:2222`;

function show({ target, keys, fault }: Scanned): string {
  const [best] = keys;
  if (!best) return `# ${target}: ${fault ?? "shows no key"}`;
  if (best.type === "ssh-rsa")
    return `# ${target}: has only an RSA key, which remote commands cannot ask for; make the others on it: ssh-keygen -A`;
  const others = keys.slice(1).map(({ fingerprint, type }) => `#   also ${fingerprint} (${type})`);
  return [
    `# ${target}: compare ${best.fingerprint} (${best.type}) with the host's own before you trust it`,
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
