/** A problem with the inventory that a person must fix. */
export class InventoryError extends Error {}

/** A host as Ansible's own parser sees it, with all its variables. */
export interface InventoryHost {
  name: string;
  variables: Record<string, unknown>;
}

interface Group {
  hosts?: string[];
  children?: string[];
  vars?: unknown;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Parses the output of `ansible-inventory --list`: returns the hosts of a group and its subgroups, in the inventory's order,
 * or all hosts. Throws an InventoryError for any other text, or if the group does not exist.
 */
export function readInventory(text: string, group?: string): InventoryHost[] {
  let inventory: unknown;
  try {
    inventory = JSON.parse(text);
  } catch {
    throw new InventoryError("The input is not JSON. Create it with: ansible-inventory -i INVENTORY --list");
  }
  const meta = isObject(inventory) ? inventory._meta : undefined;
  if (!isObject(inventory) || !isObject(meta) || !isObject(meta.hostvars))
    throw new InventoryError("The input has no _meta.hostvars. Create it with: ansible-inventory -i INVENTORY --list");

  const groups = new Map<string, Group>();
  for (const [name, value] of Object.entries(inventory)) {
    if (name === "_meta" || !isObject(value)) continue;
    const strings = (list: unknown): string[] =>
      Array.isArray(list) ? list.filter((item) => typeof item === "string") : [];
    if (isObject(value.vars) && Object.keys(value.vars).length > 0)
      throw new InventoryError(
        "The input was created with --export, which does not merge group variables into hosts. Leave --export out.",
      );
    groups.set(name, { hosts: strings(value.hosts), children: strings(value.children) });
  }
  if (group !== undefined && !groups.has(group)) {
    const known = [...groups.keys()].filter((name) => name !== "ungrouped");
    throw new InventoryError(`The inventory has no group ${group}. Its groups: ${known.join(", ") || "none"}`);
  }

  const names: string[] = [];
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const { hosts = [], children = [] } = groups.get(name) ?? {};
    names.push(...hosts.filter((host) => !names.includes(host)));
    children.forEach(visit);
  };
  visit(group ?? "all");
  const { hostvars } = meta;
  if (group === undefined) names.push(...Object.keys(hostvars).filter((host) => !names.includes(host)));
  return names.map((name) => ({ name, variables: isObject(hostvars[name]) ? hostvars[name] : {} }));
}
