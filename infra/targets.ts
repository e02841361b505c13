/** The patterns of `--target` that `npm run up` was called with; undefined when all is meant, or nobody says. */
function patterns(): string[] | undefined {
  const { LSYNCD_TARGETS: given } = process.env;
  return given === undefined ? undefined : (JSON.parse(given) as string[]);
}

/** The engine's patterns: * is a part of a name, ** anything. */
function matches(pattern: string, urn: string): boolean {
  const expression = pattern
    .split("**")
    .map((part) =>
      part
        .split("*")
        .map((text) => text.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"))
        .join("[^:]*"),
    )
    .join(".*");
  return new RegExp(`^${expression}$`).test(urn);
}

/** Whether this run is meant to change the mirror of this name; true when nobody says. */
export function isMeant(name: string, stack: string, project = "lsyncd"): boolean {
  const urn = `urn:pulumi:${stack}::${project}::lsyncd:index:Mirror::${name}`;
  return patterns()?.some((pattern) => matches(pattern, urn)) ?? true;
}
