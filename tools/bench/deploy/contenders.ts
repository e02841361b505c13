import { readdirSync } from "node:fs";
import { cp, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { pypi, pythonEnvironment } from "../../python";
import type { SandboxHost } from "../../sandbox";
import { Stack } from "../../stack";
import type { Command } from "../measured";
import type { Work } from "./types";

/** The hosts that a tool deploys to, and its working folder. */
export interface Field {
  /** The hosts, at the address at which a tool is to reach them. */
  hosts: SandboxHost[];
  knownHostsPath: string;
  directory: string;
  say: (line: string) => void;
}

/** A tool with its deployment, ready to run. */
export interface Contestant {
  /** Resets the tool's own state, as on a machine that never deployed. */
  forget?: () => Promise<void>;
  /** Prepares the run, for example by editing a file, and returns it. */
  prepare: (work: Work, delay: number) => Promise<Command>;
}

/** A tool that can take part. */
export interface Contender {
  title: string;
  version: string;
  enter: (field: Field) => Promise<Contestant>;
}

/** The name of this program in results; the others are compared with it. */
export const ours = "lsyncd-as-code";

const plainEnvironment = (directory: string): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  // A person's own ssh settings and agent have nothing to do with sandbox hosts.
  HOME: directory,
  LC_ALL: "C.UTF-8",
});

async function program({ hosts, directory }: Field): Promise<Contestant> {
  const place = join(directory, "stack");
  const stack = await new Stack({ name: "bench", directory: place }).init();
  const fresh = join(directory, "fresh");
  await cp(join(place, "state"), fresh, { recursive: true });
  return {
    forget: async () => {
      await rm(join(place, "state"), { recursive: true });
      await cp(fresh, join(place, "state"), { recursive: true });
    },
    prepare: async (_work, delay) => {
      await stack.configure(hosts, { alertRecipients: "root@localhost.localdomain", delay });
      const flags = ["--yes", "--skip-preview", "--non-interactive"];
      return {
        argv: ["npm", "run", "up", "--", "--stack", "bench", "--config-file", stack.configFile, ...flags],
        env: stack.environment(),
      };
    },
  };
}

const sshOptions = ({ knownHostsPath }: Field): string =>
  `-F none -o UserKnownHostsFile=${knownHostsPath} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes`;

/** Ansible with a configuration file; `packages` are installed beside it. */
function ansible(configuration: (venv: string) => string[], packages: string[] = []): Contender["enter"] {
  return async (field) => {
    const bin = await pythonEnvironment([pypi.ansible, ...packages], field.say);
    const { directory, hosts } = field;
    const inventory = {
      all: {
        hosts: Object.fromEntries(
          hosts.map(({ name, address, port }) => [name, { ansible_host: address, ansible_port: port }]),
        ),
        vars: {
          ansible_user: "root",
          ansible_ssh_private_key_file: hosts[0]?.privateKeyPath,
          ansible_ssh_common_args: sshOptions(field),
        },
      },
    };
    await writeFile(join(directory, "inventory.yml"), stringify(inventory));
    await writeFile(join(directory, "ansible.cfg"), `${configuration(dirname(bin)).join("\n")}\n`);
    const env = { ...plainEnvironment(directory), ANSIBLE_CONFIG: join(directory, "ansible.cfg") };
    return {
      prepare: (work, delay) => {
        const values = JSON.stringify({ lsyncd_delay: delay, later: work !== "first" });
        const playbook = join(__dirname, "playbook.yml");
        const argv = [join(bin, "ansible-playbook"), "-i", join(directory, "inventory.yml"), playbook, "-e", values];
        return Promise.resolve({ argv, env });
      },
    };
  };
}

const tuned = (...defaults: string[]): string[] => [
  ...["[defaults]", "forks = 16", "interpreter_python = /usr/bin/python3", ...defaults],
  ...["[ssh_connection]", "pipelining = true", "ssh_args = -o ControlMaster=auto -o ControlPersist=60s"],
];

/** Mitogen's plugins are used from where pip has put them. */
function mitogen(venv: string): string[] {
  const [python = ""] = readdirSync(join(venv, "lib")).filter((name) => name.startsWith("python"));
  const plugins = join(venv, "lib", python, "site-packages/ansible_mitogen/plugins/strategy");
  return tuned(`strategy_plugins = ${plugins}`, "strategy = mitogen_linear");
}

async function pyinfra(field: Field): Promise<Contestant> {
  const bin = await pythonEnvironment([pypi.pyinfra], field.say);
  const { directory, hosts, knownHostsPath } = field;
  const entries = hosts.map(({ name, address, port, privateKeyPath }) => [
    name,
    {
      ...{ ssh_hostname: address, ssh_port: port, ssh_user: "root", ssh_key: privateKeyPath },
      ...{ ssh_known_hosts_file: knownHostsPath, ssh_strict_host_key_checking: "yes" },
      ...{ ssh_allow_agent: false, ssh_look_for_keys: false },
    },
  ]);
  const inventory = join(directory, "inventory.py");
  await writeFile(join(directory, "hosts.json"), JSON.stringify(entries));
  const load = `json.loads(Path(__file__).with_name("hosts.json").read_text())`;
  await writeFile(inventory, `import json\nfrom pathlib import Path\n\nhosts = [tuple(entry) for entry in ${load}]\n`);
  return {
    prepare: (work, delay) => {
      const data = ["--data", `lsyncd_delay=${delay}`, ...(work === "first" ? [] : ["--data", "later=true"])];
      const deploy = join(__dirname, "pyinfra_deploy.py");
      return Promise.resolve({
        argv: [join(bin, "pyinfra"), "--yes", ...data, inventory, deploy],
        env: plainEnvironment(directory),
      });
    },
  };
}

const versionOf = (requirement: string): string => requirement.replace("==", " ");

/** All tools, in the order in which the first round has them. */
export const contenders: Record<string, Contender> = {
  [ours]: { title: "this program", version: "", enter: program },
  pyinfra: { title: "pyinfra", version: versionOf(pypi.pyinfra), enter: pyinfra },
  mitogen: {
    title: "Ansible with Mitogen",
    version: versionOf(pypi.mitogen),
    enter: ansible(mitogen, [pypi.mitogen]),
  },
  "ansible-tuned": { title: "Ansible, tuned", version: versionOf(pypi.ansible), enter: ansible(() => tuned()) },
  ansible: { title: "Ansible", version: versionOf(pypi.ansible), enter: ansible(() => []) },
};
