import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse, stringify } from "yaml";
import { fencedBlocks, shellBlocks } from "../../tools/docs/blocks";
import { drillPages } from "../../tools/drill/page";
import { run, type Finished } from "../../toolchain/run";
import { execOn, sandboxDown, sandboxUp, type SandboxHost } from "../../tools/sandbox";
import { ansible } from "../support/ansible";
import { commitAll, copyRepository } from "../support/clone";
import { homeOf } from "../../toolchain/home";

jest.setTimeout(300_000);

const root = resolve(__dirname, "../..");
const sandbox = `t${process.pid}-docs`;
const documented = "192.0.2.11";
/** README first, which makes the stack; drill.test.ts runs the pages on disaster recovery. */
const pages = [
  ...["README.md", "docs/operations.md"],
  ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md") && name !== "operations.md")
    .map((name) => join("docs", name))
    .filter((name) => !drillPages.includes(name))
    .sort(),
  "CONTRIBUTING.md",
];

let host: SandboxHost;
let directory: string;
/** A fresh clone, as a new user has it. */
let clone: string;
let env: NodeJS.ProcessEnv;

/**
 * A home directory of a new user: a key for the host, the engine already there, an ssh that knows the sandbox's port and key
 * (it ignores HOME, and would ask whether the key is right). The program itself finds no known_hosts.
 */
async function newUser(): Promise<void> {
  const home = join(directory, "home");
  const bin = join(directory, "bin");
  await mkdir(join(home, ".ssh"), { recursive: true, mode: 0o700 });
  await mkdir(join(home, ".pulumi"));
  await mkdir(bin);
  await copyFile(host.privateKeyPath, join(home, ".ssh", "id_ed25519"));
  await chmod(join(home, ".ssh", "id_ed25519"), 0o600);
  const { versions, plugins } = homeOf(process.env);
  await symlink(versions, join(home, ".pulumi", "versions"));
  await symlink(plugins, join(home, ".pulumi", "plugins"));
  const options = `-p ${host.port} -i '${home}/.ssh/id_ed25519' -o UserKnownHostsFile='${host.knownHostsPath}' -o BatchMode=yes`;
  const path = process.env.PATH ?? "";
  await writeFile(join(bin, "ssh"), `#!/bin/sh\nPATH='${path}' exec ssh ${options} "$@"\n`, { mode: 0o755 });
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(SSH_AUTH_SOCK|LSYNCD_|MSMTP_|PULUMI_|npm_)/.test(name),
  );
  env = {
    ...Object.fromEntries(inherited),
    ...{ HOME: home, PULUMI_HOME: join(home, ".pulumi"), PATH: `${bin}:${path}` },
    // The input of a user.
    ...{ PULUMI_CONFIG_PASSPHRASE: "docs", PULUMI_SKIP_CONFIRMATIONS: "true", PULUMI_SKIP_UPDATE_CHECK: "true" },
  };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  clone = join(directory, "clone");
  const made = await sandboxUp({ name: sandbox, owner: process.pid });
  const [first] = made.hosts;
  if (first === undefined) throw new Error("the sandbox has no host");
  host = first;
  await execOn(
    host,
    `sqlite3 ${host.source}/customers.sqlite 'CREATE TABLE customer (mail TEXT)'
     printf '#!/bin/sh\\ncat >>/root/mails\\n' >/usr/sbin/sendmail && chmod 755 /usr/sbin/sendmail`,
  );
  await newUser();
  await copyRepository(clone, (file) => !file.startsWith("test/"));
  await commitAll(clone);
});
afterAll(async () => {
  await sandboxDown(sandbox);
  await rm(directory, { recursive: true, force: true });
});

/** Adds the hosts from README to the stack file with their keys, as its reader does, and the sandbox's port. */
async function editStackFile(): Promise<void> {
  const file = join(clone, "stacks", "Pulumi.sqlite.yaml");
  const block = fencedBlocks(await readFile(join(root, "README.md"), "utf8")).find(({ info }) => info === "yaml");
  const example = parse(here((block?.text ?? []).join("\n"))) as {
    config: Record<string, { port?: number; hostKey?: string }[]>;
  };
  for (const entry of example.config["lsyncd:hosts"] ?? [])
    Object.assign(entry, { port: host.port, hostKey: host.hostKey });
  await writeFile(file, stringify({ ...(parse(await readFile(file, "utf8")) as object), ...example }));
  await run("git", ["add", file], { cwd: clone });
}

/** A text of a page as it is in this test. The engine's own idea of a home directory is not HOME: it is named instead. */
const here = (text: string) =>
  text
    .replace(`hosts:scan -- ${documented}`, `hosts:scan -- ${documented}:${host.port}`)
    .replaceAll(documented, host.address)
    .replace("pulumi login --local", 'pulumi login "file://$HOME"');

async function runBlock(block: ReturnType<typeof shellBlocks>[number]): Promise<void> {
  for (const command of block.commands) {
    const endless = /\b(journalctl|tail)\b.* -f\b|\btail -f\b/.test(command);
    const exits = endless ? [124] : block.exits;
    const text = here(endless ? command.replace(/^(sudo )?/, "$1timeout 3 ") : command);
    const { code, stdout, stderr }: Finished =
      block.where === "host"
        ? await execOn(host, text, { allowFailure: true })
        : await run("bash", ["-c", text], { cwd: clone, env, allowFailure: true });
    if (!exits.includes(code)) throw new Error(`${command}\nended with ${code}:\n${stdout}\n${stderr}`);
    if (command.includes("stack init")) await editStackFile();
  }
}

describe("the commands of the pages", () => {
  for (const page of pages) {
    const blocks = shellBlocks(readFileSync(join(root, page), "utf8")).filter(({ skipped }) => skipped === undefined);
    if (blocks.length === 0) continue;
    it.each(blocks.map((block) => [`${page}:${block.line}`, block.commands[0], block] as const))(
      "%s %s",
      async (_place, _first, block) => {
        await runBlock(block);
      },
    );
  }

  it("keep the state in the directory that this test removes", () => {
    expect(existsSync(join(env.HOME ?? "", ".pulumi", "stacks", "lsyncd", "sqlite.json"))).toBe(true);
  });

  it("have sent the test alert", async () => {
    expect((await execOn(host, "cat /root/mails")).stdout).toMatch(/^Subject: \[TEST\] Lsyncd alerts on sqlite-1$/m);
  });
});

it("a playbook runs the program, and detects whether it changed something", async () => {
  const page = readFileSync(join(root, "docs/moving-from-ansible.md"), "utf8");
  const passphrase = join(directory, "passphrase");
  const playbook = join(directory, "sqlite.yml");
  await writeFile(passphrase, "docs");
  const text = fencedBlocks(page).find(({ info, text }) => info === "yaml" && text.join().includes("hosts: localhost"));
  const adapted = (text?.text ?? []).join("\n").replace("/srv/lsyncd-as-code", clone);
  await writeFile(playbook, adapted.replace("/root/.pulumi-passphrase", passphrase));
  const play = async () => {
    const program = join(await ansible(), "ansible-playbook");
    return (
      await run(program, [playbook], {
        cwd: clone,
        env: { ...env, PULUMI_CONFIG_PASSPHRASE: undefined, LC_ALL: "C.UTF-8" },
      })
    ).stdout;
  };
  expect(await play()).toMatch(/localhost +: ok=1 +changed=0 .* failed=0/);
  const file = join(clone, "stacks", "Pulumi.sqlite.yaml");
  await writeFile(file, (await readFile(file, "utf8")).replace("config:", "config:\n  lsyncd:diskLimit: 80"));
  expect(await play()).toMatch(/localhost +: ok=1 +changed=1 .* failed=0/);
});

it("the mirror stays unchanged when the source is removed", async () => {
  const mirrored = `cd ${host.target} && find . -type f -not -path './lost+found/*' | sort | xargs sha256sum`;
  const before = (await execOn(host, mirrored)).stdout;
  expect(before).toContain("customers.sqlite");
  await execOn(host, `umount ${host.source}`);
  await execOn(host, "systemctl restart lsyncd || true; sleep 5");
  expect((await execOn(host, mirrored)).stdout).toBe(before);
  await execOn(host, `mount ${host.volumes.source.device} ${host.source}`);
});
