import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const root = resolve(__dirname, "../..");
const { scripts, dependencies, engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  engines: { node: string };
};

/** The scripts that are for this project's own developers; all others are for operators. */
const developers = ["test", "test:unit", "test:long", "lint", "format", "types", "reliability", "bench", "docs"];

/** Files that the program loads without an import that names them. */
const implied = ["infra/main.cjs", "infra/typescript.cjs", "toolchain/command-provider/src/main.ts"];

/** The files and packages that a file imports, at once or later; what only types need is no part of it. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const statements = text.matchAll(/(?:^|[\s=(])(import|export)\s+(?!type\s)[^;"]*?from "([^"]+)"/g);
  const calls = text.matchAll(/(?:require|import)\("([^"]+)"\)/g);
  return [...[...statements].map((match) => match[2] ?? ""), ...[...calls].map((match) => match[1] ?? "")];
}

function fileOf(from: string, name: string): string {
  const base = join(dirname(from), name);
  const found = [base, `${base}.ts`, join(base, "index.ts")].find(
    (path) => existsSync(join(root, path)) && /\.\w+$/.test(path),
  );
  if (found === undefined) throw new Error(`${from} imports ${name}, which is nowhere`);
  return found;
}

it("what users run needs only packages that an installation without devDependencies includes", () => {
  const scripted = Object.entries(scripts).filter(([name]) => !developers.includes(name));
  const files = [...implied, ...scripted.flatMap(([, line]) => /\S+\.ts/.exec(line) ?? [])];
  const missing = new Set<string>();
  for (const file of files) {
    for (const name of importsOf(file)) {
      if (name.startsWith(".")) {
        const path = fileOf(file, name);
        if (/\.(ts|cjs)$/.test(path) && !files.includes(path)) files.push(path);
      } else if (!name.startsWith("node:")) {
        const [scope = "", rest = ""] = name.split("/");
        const packageName = scope.startsWith("@") ? `${scope}/${rest}` : scope;
        if (!(packageName in dependencies)) missing.add(`${packageName} (${file})`);
      }
    }
  }
  // Proves that the walk goes deep.
  expect(files).toEqual(expect.arrayContaining(["infra/ssh.ts", "tools/sandbox/nspawn.ts", "cli/verify/fleet.ts"]));
  expect([...missing]).toEqual([]);
});

describe("Node", () => {
  const lock = JSON.parse(readFileSync(join(root, "toolchain/node/package-lock.json"), "utf8")) as {
    packages: Record<string, { version?: string; integrity?: string; optionalDependencies?: Record<string, string> }>;
  };
  const pinned = Object.entries(lock.packages).filter(([path]) => path !== "");
  const { [""]: recipe } = lock.packages;

  it("the pinned Node has the version of .nvmrc and a known checksum", () => {
    const nvmrc = readFileSync(join(root, ".nvmrc"), "utf8").trim();
    const { optionalDependencies } = JSON.parse(readFileSync(join(root, "toolchain/node/package.json"), "utf8")) as {
      optionalDependencies: Record<string, string>;
    };
    expect(recipe?.optionalDependencies).toEqual(optionalDependencies);
    expect(pinned.length).toBe(Object.keys(optionalDependencies).length);
    for (const [path, { version, integrity }] of pinned) {
      expect(optionalDependencies[path.replace("node_modules/", "")]).toBe(version);
      expect(version?.split(".")[0]).toBe(nvmrc);
      expect(integrity).toMatch(/^sha512-/);
    }
  });

  it("package.json, the types and the CI tests agree on the oldest version", () => {
    const oldest = /^>=(\d+)$/.exec(engines.node)?.[1] ?? "";
    const { version } = JSON.parse(readFileSync(join(root, "node_modules/@types/node/package.json"), "utf8")) as {
      version: string;
    };
    expect(version.split(".")[0]).toBe(oldest);
    const workflow = readFileSync(join(root, ".github/workflows/ci.yml"), "utf8");
    expect(workflow).toContain(`node: [${oldest}, `);
  });
});
