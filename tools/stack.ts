import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { parse, stringify } from "yaml";
import { stateOnce } from "../cli/checkpoints";
import { homeWithoutLog } from "../cli/engine-home";
import { run, type Finished } from "../toolchain/run";
import type { Reachable } from "./sandbox";
import { ensureToolchain } from "../toolchain";

const root = resolve(__dirname, "..");
const privateKey = "lsyncd:privateKey";

/** The folder of a stack, and its environment. */
export interface StackOptions {
  name: string;
  /** Holds its state (a file backend) and its configuration; nothing of it is in the repository. */
  directory: string;
  /** Environment for the program, such as LSYNCD_SOURCE. */
  env?: Record<string, string>;
  /** Where the program is, for another version of it than this one. */
  program?: string;
}

/** Settings beside those that name the host, for the stack or for one host. */
export type Extra = Record<string, unknown>;

/** A stack of the program whose state and configuration are in a directory of their own: for sandboxes and tests. */
export class Stack {
  readonly configFile: string;
  private home?: Promise<NodeJS.ProcessEnv>;

  constructor(private readonly options: StackOptions) {
    this.configFile = join(options.directory, `Pulumi.${options.name}.yaml`);
  }

  /** Makes the stack if there is none. */
  async init(): Promise<this> {
    await ensureToolchain();
    await mkdir(join(this.options.directory, "state"), { recursive: true });
    if (existsSync(this.stateFile)) return this;

    // pulumi writes the salt of a new stack's secrets beside the repository's stacks, and nowhere else.
    const written = join(root, "stacks", `Pulumi.${this.options.name}.yaml`);
    const before = await readFile(written, "utf8").catch(() => undefined);
    await this.pulumi(["stack", "init", this.options.name, "--no-select", "--non-interactive"]);
    const { encryptionsalt } = parse(await readFile(written, "utf8")) as { encryptionsalt?: string };
    await writeFile(this.configFile, stringify({ encryptionsalt }));
    await (before === undefined ? rm(written) : writeFile(written, before));
    return this;
  }

  /** Writes the hosts and settings, replacing all earlier ones except the encryption of secrets. */
  async configure(hosts: Reachable[], stack: Extra = {}, perHost: Record<string, Extra> = {}): Promise<void> {
    const before = parse(await readFile(this.configFile, "utf8").catch(() => "{}")) as { config?: Extra } | null;
    const entries = hosts.map(({ name, address, port, hostKey }) => ({
      name,
      address,
      port,
      hostKey,
      ...perHost[name],
    }));
    const config: Extra = { "lsyncd:hosts": entries, ...prefixed(stack) };
    const { [privateKey]: known, ...rest } = before?.config ?? {};
    if (known !== undefined && isDeepStrictEqual(rest, config)) return;

    await writeFile(this.configFile, stringify({ ...before, config }));
    const key = hosts[0]?.privateKeyPath;
    if (key !== undefined && !(privateKey in config)) {
      await this.pulumi(["config", "set", "--secret", privateKey], { input: await readFile(key, "utf8") });
    }
  }

  /** `pulumi up --yes`, without a preview unless asked. */
  async up(args: string[] = ["--skip-preview"], env: Record<string, string> = {}): Promise<Finished> {
    return this.pulumi(["up", "--yes", ...args], { allowFailure: true, env });
  }

  async preview(args: string[] = [], env: Record<string, string> = {}): Promise<Finished> {
    return this.pulumi(["preview", "--diff", ...args], { allowFailure: true, env });
  }

  async destroy(args: string[] = []): Promise<Finished> {
    return this.pulumi(["destroy", "--yes", "--skip-preview", ...args], { allowFailure: true });
  }

  /** The stack's exports. */
  async outputs(): Promise<Record<string, unknown>> {
    const { stdout } = await this.pulumi(["stack", "output", "--json"]);
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  /** The state as the backend keeps it. */
  async state(): Promise<string> {
    return readFile(this.stateFile, "utf8");
  }

  private get stateFile(): string {
    return join(this.options.directory, "state", ".pulumi", "stacks", "lsyncd", `${this.options.name}.json`);
  }

  /** Runs pulumi on this stack, as `npx pulumi` would but without the engine's own log, in the repository's root. */
  async pulumi(
    args: string[],
    options: { input?: string; allowFailure?: boolean; env?: Record<string, string>; echo?: boolean } = {},
  ): Promise<Finished> {
    const { env, ...rest } = options;
    const config = readsConfig.has(args[0] ?? "") ? ["--config-file", this.configFile] : [];
    const makes = args[0] === "stack" && args[1] === "init";
    const where = makes ? [] : ["--stack", this.options.name, ...config];
    return run(join(root, "node_modules", ".bin", "pulumi"), [...args, "--color", "never", ...where], {
      cwd: this.options.program ?? root,
      env: { ...this.environment(), ...(await this.engineHome()), ...env },
      ...rest,
    });
  }

  private async engineHome(): Promise<NodeJS.ProcessEnv> {
    this.home ??= mkdtemp(join(this.options.directory, "run-")).then((own) => homeWithoutLog(own, process.env));
    return this.home;
  }

  /** The environment in which a tool finds the stack as `npm run up -- --stack NAME --config-file FILE` names it. */
  environment(): NodeJS.ProcessEnv {
    const inherited = Object.entries(process.env).filter(([name]) => !foreign.has(name));
    return {
      ...stateOnce,
      ...Object.fromEntries(inherited),
      PULUMI_BACKEND_URL: `file://${join(this.options.directory, "state")}`,
      // Protects nothing: the only secret is the key of a sandbox host on this machine.
      PULUMI_CONFIG_PASSPHRASE: "sandbox",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      ...this.options.env,
    };
  }
}

/** The subcommands of pulumi that read a stack's configuration. */
const readsConfig = new Set(["config", "destroy", "preview", "refresh", "up"]);

/**
 * Left out of the environment: the user's own ssh-agent is not meant for a sandbox (and a stale one breaks every
 * connection), and the program's own variables are given on purpose or not at all.
 */
const foreign = new Set(["SSH_AUTH_SOCK", "LSYNCD_SOURCE", "LSYNCD_TARGET", "MSMTP_RCPTS", "LSYNCD_SKIP_SAFETY"]);

const prefixed = (settings: Extra): Extra =>
  Object.fromEntries(Object.entries(settings).map(([key, value]) => [`lsyncd:${key}`, value]));
