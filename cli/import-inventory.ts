import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { text } from "node:stream/consumers";
import { parseArgs } from "node:util";
import { stringify } from "yaml";
import { defaults } from "../infra/config";
import { runTool } from "./cli";
import { InventoryError, readInventory } from "./import-inventory/inventory";
import { importHosts } from "./import-inventory/settings";

const root = join(__dirname, "..");

const usage = `Create a stack file from an Ansible inventory, and list what could not be imported.

Usage: ansible-inventory -i INVENTORY --list | npm run import-inventory -- [OPTION…]
       npm run import-inventory -- [OPTION…] FILE      FILE: the output of ansible-inventory --list

Options:
  --group NAME   import only the hosts of this group and its subgroups
  --stack NAME   name of the stack (default: the group's name, or "imported")
  --user NAME    login for hosts without ansible_user, like ansible-playbook --user
  --force        overwrite the stack file`;

const prefixed = (settings: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(settings).map(([key, value]) => [`lsyncd:${key}`, value]));

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      group: { type: "string" },
      stack: { type: "string" },
      user: { type: "string" },
      force: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  const [file, ...more] = positionals;
  if (values.help || more.length > 0 || (file === undefined && process.stdin.isTTY)) {
    console.log(usage);
    return values.help ? 0 : 2;
  }
  const stack = values.stack ?? values.group ?? "imported";
  if (!/^[A-Za-z0-9_.-]{1,100}$/.test(stack))
    throw new InventoryError(`${JSON.stringify(stack)} is not a valid stack name. Choose another: --stack NAME`);
  const output = join(root, "stacks", `Pulumi.${stack}.yaml`);
  const shown = relative(process.cwd(), output);
  if (existsSync(output) && !values.force)
    throw new InventoryError(
      `${shown} already exists. Choose another name with --stack, or overwrite it with --force.`,
    );

  const inventory = readInventory(
    await (file === undefined ? text(process.stdin) : readFile(file, "utf8")),
    values.group,
  );
  const { common, hosts, left, remarks } = importHosts(inventory, {
    stack,
    ...(values.user === undefined ? {} : { user: values.user }),
  });
  if (hosts.length > 0) {
    const heading = `# Imported from an Ansible inventory. Every setting is in docs/configuration.md.\n`;
    await writeFile(
      output,
      heading + stringify({ config: { ...prefixed(common), "lsyncd:hosts": hosts } }, { aliasDuplicateObjects: false }),
    );
    console.log(`${shown}: ${hosts.length} of ${inventory.length} hosts`);
  } else console.log(`None of ${inventory.length} hosts could be imported, so no file was written.`);

  const list = (title: string, lines: string[]): void => {
    if (lines.length > 0) console.log(`\n${title}\n${lines.map((line) => `  - ${line}`).join("\n")}`);
  };
  const recipients = `all hosts: alerts go to ${defaults.alertRecipients.join(", ")} unless you set lsyncd:alertRecipients`;
  list("Not imported:", left);
  list("Check by hand:", hosts.length === 0 ? remarks : [...remarks, recipients]);
  if (hosts.length === 0) return 1;
  const next = [
    `npx pulumi stack init ${stack}        # once; it keeps the file`,
    `npm run preview -- --stack ${stack}   # lists missing host keys, and what would change`,
  ];
  console.log(`\nNext:\n${next.map((line) => `  ${line}`).join("\n")}`);
  return 0;
}

runTool(main, { usage });
