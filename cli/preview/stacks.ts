/** The stack that `npm start` creates; it is deployed nowhere else. */
const ownStack = "sandbox";

/** A stack's file, by its path in the repository. */
const stackFile = /^stacks\/Pulumi\.([^/]+)\.ya?ml$/;

// Files that affect every host's deployment, besides the stack's own file.
const common = /^(infra|templates)\/|^(Pulumi\.yaml|package\.json|package-lock\.json|tsconfig\.json)$/;

/** The names of the stacks that have a file. */
export function stackNames(files: string[]): string[] {
  return files
    .flatMap((file) => stackFile.exec(file)?.[1] ?? [])
    .filter((name) => name !== ownStack)
    .sort();
}

/** The stacks that a change of these files affects: their own stacks, or all if the program or a template changes. */
export function touchedStacks(changed: string[], all: string[]): string[] {
  if (changed.some((file) => common.test(file))) return all;
  const touched = stackNames(changed);
  return all.filter((name) => touched.includes(name));
}
