import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { remote } from "@pulumi/command";
import { type Finished, run } from "../../run";
import { ensureToolchain } from "../..";

const modules = join(__dirname, "..", "..", "..", "node_modules");

/** A Command of a test's program. Values of its arguments may be made secret with `secret`. */
export interface Resource {
  name: string;
  args: Marked<remote.CommandArgs>;
  /** Passed to the resource as they are. */
  options?: { additionalSecretOutputs?: string[]; customTimeouts?: { create?: string } };
}

type Marked<T> = T extends object ? { [Key in keyof T]: Marked<T[Key]> | Secret } : T | Secret;
interface Secret {
  $secret: string;
}

/** Makes the program wrap the value with pulumi.secret. */
export function secret(value: string): Secret {
  return { $secret: value };
}

/** One resource in a stack's state. */
export interface StateResource {
  type: string;
  id: string;
  urn: string;
  inputs: Record<string, unknown>;
  outputs: Record<string, unknown>;
}

/** The program: as many Commands as the file beside it lists. */
const PROGRAM = `
const pulumi = require("@pulumi/pulumi");
const { remote } = require("@pulumi/command");
function marked(value) {
  if (Array.isArray(value)) return value.map(marked);
  if (typeof value !== "object" || value === null) return value;
  if ("$secret" in value) return pulumi.secret(value.$secret);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, marked(inner)]));
}
for (const { name, args, options } of require("./resources.json")) new remote.Command(name, marked(args), options);
`;

/** A stack with a program of its own, a file backend and no history, all below one folder. */
export class Stack {
  private constructor(
    private readonly folder: string,
    private readonly engine: string,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  static async create(folder: string): Promise<Stack> {
    const { engine } = await ensureToolchain();
    await mkdir(join(folder, "state"), { recursive: true });
    await symlink(modules, join(folder, "node_modules"));
    await writeFile(join(folder, "package.json"), JSON.stringify({ name: "conformance", main: "index.js" }));
    await writeFile(join(folder, "index.js"), PROGRAM);
    await writeFile(
      join(folder, "Pulumi.yaml"),
      "name: conformance\nruntime:\n  name: nodejs\n  options:\n    typescript: false\n",
    );
    const stack = new Stack(folder, engine.path, {
      ...process.env,
      PATH: `${engine.folder}:${process.env.PATH ?? ""}`,
      PULUMI_BACKEND_URL: `file://${join(folder, "state")}`,
      PULUMI_CONFIG_PASSPHRASE: "correct horse battery staple",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      // Agents are used where a test says so.
      SSH_AUTH_SOCK: "",
    });
    await stack.pulumi(["stack", "init", "test"]);
    return stack;
  }

  /** Deploys these resources and no others. Throws when that fails. */
  async up(resources: Resource[]): Promise<Finished> {
    return this.deploy(resources, []);
  }

  /** Deploys what can be deployed of these resources, and returns what the engine said. */
  async tryUp(resources: Resource[]): Promise<Finished> {
    return this.deploy(resources, ["--continue-on-error"], true);
  }

  /** Starts deploying, and leaves the rest to the caller. */
  async begin(resources: Resource[]): Promise<ReturnType<typeof spawn>> {
    await this.write(resources);
    return spawn(this.engine, UP, { cwd: this.folder, env: this.env, stdio: ["ignore", "pipe", "pipe"] });
  }

  async preview(resources: Resource[]): Promise<Finished> {
    await this.write(resources);
    return this.pulumi(["preview", "--diff", "--stack", "test", "--non-interactive", "--color", "never"]);
  }

  async destroy(): Promise<Finished> {
    return this.pulumi([
      "destroy",
      "--yes",
      "--skip-preview",
      "--stack",
      "test",
      "--non-interactive",
      "--color",
      "never",
    ]);
  }

  /** Takes back the lock that an engine which was killed has left. */
  async cancel(): Promise<Finished> {
    return this.pulumi(["cancel", "--yes", "--stack", "test"]);
  }

  /** The state file, as it lies on the disk. */
  rawState(): string {
    return readFileSync(join(this.folder, "state", ".pulumi", "stacks", "conformance", "test.json"), "utf8");
  }

  /** The state of the Command with this name; undefined when there is none. */
  state(name: string): StateResource | undefined {
    const { checkpoint } = JSON.parse(this.rawState()) as {
      checkpoint: { latest: { resources?: StateResource[] } };
    };
    return checkpoint.latest.resources?.find(({ urn }) => urn.endsWith(`command:remote:Command::${name}`));
  }

  private async deploy(resources: Resource[], flags: string[], allowFailure = false): Promise<Finished> {
    await this.write(resources);
    return this.pulumi([...UP, ...flags], allowFailure);
  }

  private async write(resources: Resource[]): Promise<void> {
    await writeFile(join(this.folder, "resources.json"), JSON.stringify(resources));
  }

  private async pulumi(args: string[], allowFailure = false): Promise<Finished> {
    return run(this.engine, args, { cwd: this.folder, env: this.env, allowFailure });
  }
}

const UP = ["up", "--yes", "--skip-preview", "--stack", "test", "--non-interactive", "--color", "never"];
