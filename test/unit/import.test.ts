import { readInventory } from "../../cli/import-inventory/inventory";
import { importHosts } from "../../cli/import-inventory/settings";
import { readJump, readSshArguments } from "../../cli/import-inventory/ssh-arguments";

const inventory = (hostvars: Record<string, object>, groups: Record<string, object> = {}) =>
  JSON.stringify({ _meta: { hostvars }, all: { children: ["ungrouped", ...Object.keys(groups)] }, ...groups });

const imported = (variables: Record<string, unknown>, options: { user?: string } = { user: "root" }) =>
  importHosts([{ name: "sqlite-1", variables: { ansible_host: "192.0.2.1", ...variables } }], {
    stack: "prod",
    ...options,
  });
const entry = (variables: Record<string, unknown>) => imported(variables).hosts[0];
const remarks = (variables: Record<string, unknown>) => imported(variables).remarks.join("\n");

describe("an inventory", () => {
  const text = inventory(
    { a: {}, b: {}, c: {}, d: {} },
    { sqlite: { hosts: ["b"], children: ["eu"] }, eu: { hosts: ["a", "b"] }, web: { hosts: ["c"] } },
  );

  it("is read whole, or only the given group with its subgroups", () => {
    expect(readInventory(text).map(({ name }) => name)).toEqual(["b", "a", "c", "d"]);
    expect(readInventory(text, "sqlite").map(({ name }) => name)).toEqual(["b", "a"]);
  });

  it("with a cycle of groups is read to its end", () => {
    const circle = inventory({ a: {} }, { one: { children: ["two"] }, two: { children: ["one"], hosts: ["a"] } });
    expect(readInventory(circle, "one").map(({ name }) => name)).toEqual(["a"]);
  });

  it.each([
    ["[sqlite]\nhost\n", undefined, /not JSON/],
    ["[]", undefined, /_meta/],
    ['{"all": {"hosts": ["a"]}}', undefined, /_meta/],
    [inventory({ a: {} }, { g: { hosts: ["a"], vars: { x: 1 } } }), undefined, /Leave --export out/],
    [text, "nothing", /no group nothing\. Its groups: all, sqlite, eu, web/],
  ])("%j is refused, and the error says what to do", (bad, group, message) => {
    expect(() => readInventory(bad, group)).toThrow(message);
  });
});

describe("a host", () => {
  it("keeps its address, port and user, but not default values", () => {
    expect(entry({ ansible_port: 2222, ansible_user: "deploy" })).toEqual({
      ...{ name: "sqlite-1", address: "192.0.2.1", port: 2222, user: "deploy" },
    });
    expect(entry({ ansible_port: "22", ansible_user: "root" })).toEqual({ name: "sqlite-1", address: "192.0.2.1" });
    expect(entry({ ansible_ssh_port: 2200, ansible_ssh_user: "old" })).toMatchObject({ port: 2200, user: "old" });
  });

  it("without an address uses its name as the address", () => {
    const { hosts } = importHosts([{ name: "db.example.com", variables: {} }], { stack: "prod", user: "root" });
    expect(hosts).toEqual([{ name: "db.example.com", address: "db.example.com" }]);
  });

  it("without a user is reported, unless the user is given", () => {
    expect(imported({}, {}).remarks.join()).toMatch(/no ansible_user, so this program logs in as root/);
    expect(imported({}, { user: "deploy" })).toMatchObject({ hosts: [{ user: "deploy" }], remarks: [] });
  });

  it.each([
    [{ ansible_connection: "local" }, /ansible_connection is local/],
    [{ ansible_host: "{{ ip }}" }, /ansible_host is the template {{ ip }}/],
    [{ ansible_port: "{{ p }}" }, /ansible_port is the template/],
    [{ ansible_port: 70000 }, /port: must be a whole number/],
    [{ ansible_user: "Who?" }, /user: must be a login name/],
    [{ ansible_host: "two words" }, /address: must be a host name/],
  ])("that cannot be imported is skipped and named: %j", (variables, reason) => {
    const { hosts, left } = imported(variables);
    expect(hosts).toEqual([]);
    expect(left).toEqual([expect.stringMatching(reason)]);
  });

  it("with the address of another host is named", () => {
    const both = ["a", "b"].map((name) => ({ name, variables: { ansible_host: "192.0.2.1" } }));
    expect(importHosts(both, { stack: "prod", user: "root" }).remarks.join()).toMatch(/is already used/);
  });
});

describe("settings that all hosts share", () => {
  it("become settings of the stack", () => {
    const hosts = ["a", "b"].map((name) => ({ name, variables: { ansible_user: "deploy", ansible_port: 2222 } }));
    expect(importHosts(hosts, { stack: "prod" })).toMatchObject({
      common: { user: "deploy", port: 2222 },
      hosts: [
        { name: "a", address: "a" },
        { name: "b", address: "b" },
      ],
    });
  });

  it("are reported once, with the hosts", () => {
    const hosts = ["db1", "db2", "db3"].map((name) => ({ name, variables: { ansible_become_password: "geheim" } }));
    const { remarks } = importHosts(hosts, { stack: "prod", user: "deploy" });
    expect(remarks).toEqual([expect.stringMatching(/^db1 … db3 \(3 hosts\): a sudo password/)]);
  });
});

describe("secrets", () => {
  it.each([
    ["ansible_become_password", /config set --secret becomePassword --stack prod/],
    ["ansible_become_pass", /becomePassword/],
    ["ansible_password", /config set --secret password --stack prod/],
    ["ansible_ssh_pass", /secret password/],
  ])("%s is not written; the command that stores it is printed", (name, command) => {
    const result = imported({ [name]: "geheim" });
    expect(JSON.stringify(result)).not.toContain("geheim");
    expect(result.remarks.join()).toMatch(command);
  });

  it("of Ansible's vault are reported in the same way", () => {
    expect(remarks({ ansible_become_password: { __ansible_vault: "$ANSIBLE_VAULT;1.1" } })).toMatch(/becomePassword/);
  });

  it("a private key is reported with the command that stores it, each one if there are several", () => {
    expect(remarks({ ansible_ssh_private_key_file: "~/.ssh/deploy" })).toContain(
      "npx pulumi config set --secret privateKey --stack prod <~/.ssh/deploy",
    );
    const hosts = ["a", "b"].map((name) => ({ name, variables: { ansible_ssh_private_key_file: `/keys/${name}` } }));
    const listed = importHosts(hosts, { stack: "prod", user: "root" }).remarks.join("\n");
    expect(listed).toContain("--path 'hosts[0].privateKey' --stack prod </keys/a");
    expect(listed).toContain("--path 'hosts[1].privateKey' --stack prod </keys/b");
  });
});

describe("privilege escalation", () => {
  it("other than sudo to root is reported", () => {
    expect(remarks({ ansible_become_method: "doas" })).toMatch(/a method other than sudo/);
    expect(remarks({ ansible_become_user: "postgres" })).toMatch(/a user other than root/);
    expect(remarks({ ansible_become_method: "sudo", ansible_become_user: "root", ansible_become: true })).toBe("");
  });
});

describe("SSH arguments", () => {
  it.each([
    ["-o ProxyJump=bastion", ["bastion"]],
    ["-o 'ProxyJump=me@bastion:2200'", ["me@bastion:2200"]],
    ["-J me@bastion", ["me@bastion"]],
    ["-Jbastion", ["bastion"]],
    ["-oProxyJump=a,b", ["a", "b"]],
    [`-o ProxyCommand="ssh -W %h:%p -q me@bastion"`, ["me@bastion"]],
    [`-o ProxyCommand="ssh -p 2200 -l me -W %h:%p bastion"`, ["me@bastion:2200"]],
    ["-o ProxyJump=none", []],
    ["-o ControlMaster=auto -o ControlPersist=60s", []],
  ])("%s set the jump host %j", (line, jumps) => {
    expect(readSshArguments(line)).toEqual({ jumps, rest: [], unchecked: [] });
  });

  it.each([
    '-o ProxyCommand="ssh -i key -W %h:%p bastion"',
    '-o ProxyCommand="nc -x proxy %h %p"',
    "-C",
    "-o Compression=yes",
  ])("%s are reported as not imported", (line) => {
    expect(remarks({ ansible_ssh_common_args: line })).toMatch(/ssh options that were not imported: -/);
  });

  it("that disable host key checking are dropped and reported", () => {
    const line = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
    expect(remarks({ ansible_ssh_common_args: line })).toMatch(
      /was not imported: this program always checks host keys/,
    );
  });

  it("become a bastion; a chain of two is refused", () => {
    expect(entry({ ansible_ssh_common_args: "-J me@bastion.example.com:2200" })).toMatchObject({
      bastion: { address: "bastion.example.com", port: 2200, user: "me" },
    });
    expect(remarks({ ansible_ssh_common_args: "-J one,two" })).toMatch(/the connection through one and then two/);
  });

  it.each([
    ["bastion", { address: "bastion" }],
    ["ssh://me@bastion:22", { address: "bastion", port: 22, user: "me" }],
    ["me@[2001:db8::1]:2200", { address: "2001:db8::1", port: 2200, user: "me" }],
  ])("%s is %j", (text, jump) => {
    expect(readJump(text)).toEqual(jump);
  });
});

it("variables that do not concern the connection are named once", () => {
  expect(remarks({ ansible_python_interpreter: "python3", swap: 1 })).toBe(
    "These variables are not about the connection and were not imported: ansible_python_interpreter, swap",
  );
});
