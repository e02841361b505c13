import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { run, type Finished } from "../../toolchain/run";
import { ansible } from "../support/ansible";

jest.setTimeout(300_000);

const root = resolve(__dirname, "../..");

let directory: string;
let ansibleInventory: string;

/** Ansible's own parser. */
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-test-"));
  ansibleInventory = join(await ansible(), "ansible-inventory");
});
afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

let count = 0;

/** Imports an inventory as a user does; returns the output and the stack file, and removes the file. */
async function imported(name: string, inventory: string, ...args: string[]): Promise<Finished & { stack: unknown }> {
  const file = join(directory, name);
  await writeFile(file, inventory, { mode: name.endsWith(".py") ? 0o755 : 0o644 });
  const env = { ...process.env, ANSIBLE_LOCALHOST_WARNING: "false", HOME: directory };
  const { stdout } = await run(ansibleInventory, ["-i", file, "--list"], { env, cwd: directory });
  const stack = `import-test-${process.pid}-${(count += 1)}`;
  const written = join(root, "stacks", `Pulumi.${stack}.yaml`);
  try {
    const finished = await run(
      process.execPath,
      ["--import", "tsx", "cli/import-inventory.ts", "--stack", stack, ...args],
      { cwd: root, input: stdout, allowFailure: true },
    );
    const text = await readFile(written, "utf8").catch(() => "");
    return { ...finished, stack: (parse(text) as { config?: unknown } | null)?.config };
  } finally {
    await rm(written, { force: true });
  }
}

it("imports an INI file with groups, group variables and ranges", async () => {
  const { code, stdout, stack } = await imported(
    "hosts",
    `[sqlite]
sqlite-[1:3] ansible_port=2222
sqlite-9.example.com ansible_port=2222
[sqlite:vars]
ansible_user=deploy
ansible_become=true
ansible_become_password=geheim
ansible_ssh_common_args='-o ProxyJump=jump@bastion.example.com:2200 -o StrictHostKeyChecking=no'
[web]
web-1
[prod:children]
sqlite
web
`,
    ...["--group", "sqlite"],
  );
  expect(code).toBe(0);
  expect(stack).toEqual({
    "lsyncd:user": "deploy",
    "lsyncd:port": 2222,
    "lsyncd:bastion": { address: "bastion.example.com", port: 2200, user: "jump" },
    "lsyncd:hosts": ["sqlite-1", "sqlite-2", "sqlite-3", "sqlite-9.example.com"].map((name) => ({
      name,
      address: name,
    })),
  });
  expect(stdout).toMatch(/4 of 4 hosts/);
  expect(stdout).toMatch(/StrictHostKeyChecking=no was not imported/);
  expect(stdout).toMatch(/config set --secret becomePassword/);
  expect(stdout).not.toContain("geheim");
});

it("imports a YAML file with children, a vault, templates and a local connection", async () => {
  const { code, stdout, stack } = await imported(
    "hosts.yml",
    `all:
  vars: { ansible_user: root }
  children:
    sqlite:
      children:
        eu:
          hosts:
            db1: { ansible_host: "2001:db8::1", ansible_ssh_private_key_file: ~/.ssh/eu }
        us:
          hosts:
            db2: { ansible_host: 192.0.2.5, ansible_port: "{{ ssh_port }}" }
            here: { ansible_connection: local }
`,
    ...["--group", "sqlite"],
  );
  expect(code).toBe(0);
  expect(stack).toEqual({ "lsyncd:hosts": [{ name: "db1", address: "2001:db8::1" }] });
  expect(stdout).toMatch(/Not imported:\n {2}- db2: ansible_port is the template {{ ssh_port }}/);
  expect(stdout).toMatch(/- here: ansible_connection is local/);
  expect(stdout).toMatch(/config set --secret privateKey .* <~\/\.ssh\/eu/);
});

it("imports from a program that prints an inventory", async () => {
  const inventory = { sqlite: { hosts: ["a"] }, _meta: { hostvars: { a: { ansible_host: "192.0.2.7" } } } };
  const { stack } = await imported("hosts.py", `#!/bin/sh\ncat <<'END'\n${JSON.stringify(inventory)}\nEND\n`);
  expect(stack).toEqual({ "lsyncd:hosts": [{ name: "a", address: "192.0.2.7" }] });
});

it("fails without writing anything if no host can be imported", async () => {
  const { code, stdout, stack } = await imported("none.ini", "localhost ansible_connection=local\n");
  expect(code).toBe(1);
  expect(stdout).toMatch(/None of 1 hosts could be imported/);
  expect(stack).toBeUndefined();
});

it("never overwrites a stack by default", async () => {
  const file = join(directory, "list.json");
  await writeFile(file, JSON.stringify({ _meta: { hostvars: { a: {} } } }));
  const before = await readFile(join(root, "stacks/Pulumi.sqlite-prod.yaml"), "utf8");
  const { code, stderr } = await run(
    process.execPath,
    ["--import", "tsx", "cli/import-inventory.ts", "--stack", "sqlite-prod", file],
    { cwd: root, allowFailure: true },
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/already exists/);
  expect(await readFile(join(root, "stacks/Pulumi.sqlite-prod.yaml"), "utf8")).toBe(before);
});
