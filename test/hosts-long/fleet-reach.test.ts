import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../../toolchain/run";
import { execOn, quote, type SandboxHost } from "../../tools/sandbox";
import type { Extra } from "../../tools/stack";
import { homeOf } from "../../toolchain/home";
import { failed, on, prepare, succeeded, type Deployment } from "../support/deployment";
import { runTool } from "../support/tools";

jest.setTimeout(400_000);

// A passphrase and a password with characters that are special to a shell.
const passphrase = "open 'sesame' $1";
const password = `log "in" with \\ me`;

let d: Deployment;
let folder: string;
let gate: SandboxHost;
let inner: SandboxHost;
let oldKey: string;

beforeAll(async () => {
  d = await prepare("reach", { hosts: 2, volumeSizeMb: 64 });
  [gate, inner] = d.hosts as [SandboxHost, SandboxHost];
  folder = await mkdtemp(join(tmpdir(), "reach-"));
  oldKey = await readFile(gate.privateKeyPath, "utf8");
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", join(folder, "locked")]);
  const publicKey = await readFile(join(folder, "locked.pub"), "utf8");
  await on(inner, `echo mail >${inner.source}/mail`);
  await execOn(inner, "cat >>/root/.ssh/authorized_keys", { input: publicKey });
  await execOn(gate, "useradd -m -s /bin/bash jump; chpasswd", { input: `jump:${password}\n` });
  // The gate lets its user through with a password, and the host behind it talks to nobody but the gate.
  await on(
    gate,
    "printf 'Match User jump\\n  PasswordAuthentication yes\\n' >>/etc/ssh/sshd_config; systemctl restart ssh",
  );
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await d.remove();
});

/** Sets how to reach the inner host, with secrets encrypted. */
async function reach(settings: Extra, secrets: Record<string, string>): Promise<void> {
  await d.configure(settings, {}, [inner]);
  // Only what was set on purpose: no key or secret from before.
  await d.stack.pulumi(["config", "rm", "lsyncd:privateKey"], { allowFailure: true });
  for (const [path, value] of Object.entries(secrets)) {
    await d.stack.pulumi(["config", "set", "--secret", "--path", `lsyncd:${path}`], { input: value });
  }
}

const bastion = (): Extra => ({
  bastion: { address: gate.address, port: gate.port, user: "jump", hostKey: gate.hostKey },
});
/** How often the inner host has let someone in like this; this test itself comes as root, with a key. */
const accepted = async (how: string): Promise<number> =>
  Number(await on(inner, `journalctl -u ssh --no-pager -o cat | grep -c ${quote(`Accepted ${how} `)} || true`));

it("connects through a bastion with a password to a host with a key that has a passphrase", async () => {
  await reach(bastion(), {
    privateKey: await readFile(join(folder, "locked"), "utf8"),
    privateKeyPassphrase: passphrase,
    "bastion.password": password,
  });
  const preview = succeeded(await d.stack.preview());
  expect(preview).toContain(`Preflight passed on ${inner.name}`);
  succeeded(await d.stack.up());
  expect(await on(inner, "systemctl is-active lsyncd")).toBe("active");
  expect(await on(gate, "journalctl -u ssh --no-pager -o cat | grep -c 'Accepted password for jump'")).toMatch(
    /^[1-9]/,
  );
  const state = await d.stack.state();
  for (const secret of [passphrase, password, "PRIVATE KEY"]) expect(state).not.toContain(secret);
});

it("does the same for npm run status, and refuses a wrong key of the bastion", async () => {
  const { stdout } = await runTool(d.stack, "cli/status.ts", []);
  expect(stdout).toMatch(new RegExp(`^${inner.name} +\\S+ +active`, "m"));
  await reach(
    { bastion: { ...(bastion().bastion as Extra), hostKey: inner.hostKey } },
    { "bastion.password": password },
  );
  const refused = await runTool(d.stack, "cli/status.ts", []);
  expect(refused.code).toBe(1);
  expect(refused.stdout).toMatch(/the bastion jump@\S+ port \d+: its key SHA256:\S+ does not match the known one/);
});

it("logs in with the keys of an ssh-agent", async () => {
  const { stdout } = await run("ssh-agent", ["-a", join(folder, "agent")]);
  const pid = /SSH_AGENT_PID=(\d+)/.exec(stdout)?.[1];
  try {
    const env = { SSH_AUTH_SOCK: join(folder, "agent") };
    await run("ssh-add", ["-q", gate.privateKeyPath], { env: { ...process.env, ...env } });
    await reach({}, {});
    succeeded(await d.stack.up(undefined, env));
    expect(succeeded(await d.stack.preview([], env))).toContain(`Preflight passed on ${inner.name}`);
  } finally {
    process.kill(Number(pid));
  }
});

it("logs in with a password, and a wrong password gives one clear line", async () => {
  await execOn(inner, "useradd -m -s /bin/bash ops; chpasswd", { input: `ops:${password}\n` });
  await on(
    inner,
    `echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
     printf 'Match User ops\\n  PasswordAuthentication yes\\n' >>/etc/ssh/sshd_config; systemctl restart ssh`,
  );
  await reach({ user: "ops", delay: 2 }, { password });
  succeeded(await d.stack.up());
  expect(await accepted("password for ops")).toBeGreaterThan(0);
  const { stdout } = await runTool(d.stack, "cli/status.ts", []);
  expect(stdout).toMatch(new RegExp(`^${inner.name} +\\S+ +active`, "m"));
  expect(await d.stack.state()).not.toContain(password);

  await reach({ user: "ops", delay: 3 }, { password: "another" });
  const refused = failed(await d.stack.up());
  const lines = refused.match(new RegExp(`${inner.name} could not be reached, it was not checked and .*`, "g")) ?? [];
  expect(new Set(lines).size).toBe(1);
  expect(lines[0]).toContain("it refuses the password of ops");
  expect(refused).not.toContain(`${inner.name}-preflight`);
});

it("ignores a missing agent when there is a key", async () => {
  await reach({}, { privateKey: oldKey });
  await writeFile(join(folder, "dead"), "");
  const env = { SSH_AUTH_SOCK: join(folder, "dead") };
  const finished = await runTool(d.stack, "cli/pulumi.ts", ["up", "--yes", "--skip-preview"], { env });
  expect(succeeded(finished)).toContain("The ssh-agent in SSH_AUTH_SOCK does not answer");
});

it("reads host keys from known_hosts, hashed and with a port, and refuses a host that is not listed", async () => {
  const home = join(folder, "home");
  await run("mkdir", ["-p", join(home, ".ssh")]);
  const known = join(home, ".ssh", "known_hosts");
  await writeFile(known, `[${inner.address}]:${String(inner.port)} ${inner.hostKey}\n`);
  await run("ssh-keygen", ["-q", "-H", "-f", known]);
  expect(await readFile(known, "utf8")).toMatch(/^\|1\|/);
  // The toolchain stays where it is.
  await run("mkdir", ["-p", join(home, ".pulumi")]);
  await symlink(homeOf(process.env).versions, join(home, ".pulumi", "versions"));
  const env = { HOME: home };
  const unpinned: Partial<SandboxHost> = { ...inner };
  delete unpinned.hostKey;
  await d.stack.configure([unpinned as SandboxHost], {});
  expect(succeeded(await d.stack.preview([], env))).toContain(`Preflight passed on ${inner.name}`);
  await rm(known);
  expect(failed(await d.stack.preview([], env))).toContain(
    `npm run hosts:scan -- ${inner.address}:${String(inner.port)}`,
  );
  const scan = await run(process.execPath, [
    join(dirname(dirname(__dirname)), "toolchain/bootstrap.mjs"),
    "cli/hosts-scan.ts",
    `${inner.address}:${String(inner.port)}`,
  ]);
  expect(scan.stdout).toContain(`hostKey: ${inner.hostKey}`);
});

it("accepts a host certified by an authority in known_hosts, and refuses it once the certificate has expired", async () => {
  const home = join(folder, "home");
  const [authority, key] = [join(folder, "authority"), join(folder, "host")];
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", authority]);
  await writeFile(`${key}.pub`, `${inner.hostKey}\n`);
  /** Signs the host's key for this time, and makes the host present the certificate. */
  const certify = async (valid: string): Promise<void> => {
    await run("ssh-keygen", [
      "-q",
      "-s",
      authority,
      "-h",
      "-I",
      "inner",
      "-n",
      inner.address,
      "-V",
      valid,
      `${key}.pub`,
    ]);
    await execOn(inner, "cat >/etc/ssh/host-cert.pub", { input: await readFile(`${key}-cert.pub`, "utf8") });
    await on(
      inner,
      "grep -q HostCertificate /etc/ssh/sshd_config || sed -i '1i HostCertificate /etc/ssh/host-cert.pub' /etc/ssh/sshd_config; systemctl restart ssh",
    );
  };
  await certify("-1h:+1h");
  await writeFile(join(home, ".ssh", "known_hosts"), `@cert-authority * ${await readFile(`${authority}.pub`, "utf8")}`);
  const env = { HOME: home };
  const unpinned: Partial<SandboxHost> = { ...inner };
  delete unpinned.hostKey;
  await d.stack.configure([unpinned as SandboxHost], { delay: 4 });
  expect(succeeded(await d.stack.preview([], env))).toContain(`Preflight passed on ${inner.name}`);
  succeeded(await d.stack.up(undefined, env));
  expect(await on(inner, "grep -c 'delay *= 4' /etc/lsyncd/lsyncd.conf.lua")).toBe("1");

  await certify("-2h:-1h");
  await d.stack.configure([unpinned as SandboxHost], { delay: 5 });
  const refused = failed(await d.stack.up(undefined, env));
  expect(refused).toMatch(/could not be reached.*its key is not known, and its certificate has expired/);
  expect(await on(inner, "grep -c 'delay *= 4' /etc/lsyncd/lsyncd.conf.lua")).toBe("1");
});
