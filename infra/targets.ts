/** The `--target` patterns of `npm run up`; undefined if there are none, or if the program was started another way. */
function patterns(): string[] | undefined {
  const { LSYNCD_TARGETS: given } = process.env;
  return given === undefined ? undefined : (JSON.parse(given) as string[]);
}

/** The engine's patterns: * matches within a name, ** matches anything. */
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

/** Whether this run may change the mirror of this name; true without patterns. */
export function isMeant(name: string, stack: string, project = "lsyncd"): boolean {
  const urn = `urn:pulumi:${stack}::${project}::lsyncd:index:Mirror::${name}`;
  return patterns()?.some((pattern) => matches(pattern, urn)) ?? true;
}
