import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./run";

/** A program to build: a folder whose go.mod and go.sum pin all modules. */
export interface GoProgram {
  folder: string;
  package: string;
  /** The module's version, which the program reports as its own. */
  version: string;
}

/** Builds the program into the file `output`. On failure, throws the last lines of the compiler's output. */
export async function goBuild(program: GoProgram, output: string, env: NodeJS.ProcessEnv): Promise<void> {
  const flags = `-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${program.version}`;
  await run("go", ["build", "-trimpath", "-ldflags", flags, "-o", output, program.package], {
    cwd: program.folder,
    env: goEnvironment(env),
  });
}

/** The folder in Go's module cache that holds a module of the program. */
export async function goModuleFolder(program: GoProgram, module: string, env: NodeJS.ProcessEnv): Promise<string> {
  const options = { cwd: program.folder, env: goEnvironment(env) };
  return (await run("go", ["list", "-m", "-f", "{{.Dir}}", module], options)).stdout.trim();
}

/** Throws a message of one line if no installed Go can build the program. */
export async function requireGo(program: GoProgram, env: NodeJS.ProcessEnv): Promise<void> {
  const needed = /^go (\S+)$/m.exec(readFileSync(join(program.folder, "go.mod"), "utf8"))?.[1] ?? "";
  const advice = `Go ${needed} or newer is needed to build the Pulumi engine: install it (https://go.dev/doc/install) and run this again (docs/troubleshooting.md#the-engine-cannot-be-installed)`;
  // From 1.21 on, an older go fetches the one a go.mod asks for, unless GOTOOLCHAIN forbids it.
  const options = { cwd: program.folder, env: goEnvironment(env), allowFailure: true };
  const found = await run("go", ["env", "GOVERSION"], options).catch((error: unknown) => {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`${advice}; ${code === "ENOENT" ? "there is no go on PATH" : message}.`);
  });
  const version = found.stdout.trim().replace(/^go/, "");
  if (found.code !== 0) throw new Error(`${advice}; ${lastLine(found.stderr)}.`);
  if (isOlder(version, needed)) throw new Error(`${advice}; the one on PATH is ${version}.`);
}

/** Whether version `left` comes before `right`, compared number by number. */
export function isOlder(left: string, right: string): boolean {
  const numbers = (version: string): number[] => version.split(/[^0-9]+/).map(Number);
  const [mine, other] = [numbers(left), numbers(right)];
  for (let index = 0; index < other.length; index++) {
    const difference = (mine[index] ?? 0) - (other[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

/** The user's environment and caches, without settings that would change the result of the build. */
function goEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    ...env,
    GOOS: undefined,
    GOARCH: undefined,
    GOWORK: "off",
    CGO_ENABLED: "0",
    GOFLAGS: `${env.GOFLAGS ?? ""} -mod=readonly`.trim(),
  };
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
