import { Command } from "./command";
import * as commands from "./commands";
import type { HostSettings } from "./config";
import { commandConnection, type Connection } from "./connection";
import { reasons } from "./drift";
import type { RenderedFile } from "./files";
import { reportLook, type Looked } from "./observe";
import * as pulumi from "./pulumi";
import { stagedBefore } from "./takeover";

/** The arguments of a mirror. */
export interface MirrorArgs {
  host: HostSettings;
  connection: Connection;
  /** The stack, as `organization/project/stack`. */
  stack: string;
  /** The host's managed files. */
  files: RenderedFile[];
  /** The result of inspecting the host. */
  looked: Looked;
  /** When this run began. */
  now: Date;
}

/** The most important facts about a host, exported by the stack. */
export interface MirrorState {
  source: string;
  target: string;
  service: string;
  timer: string;
  version: string;
}

/** Parses the last lines that activation prints. */
export function parseReport(stdout: string): Pick<MirrorState, "service" | "timer" | "version"> {
  const line = (key: string): string => new RegExp(`^${key}: (.*)$`, "m").exec(stdout)?.[1] ?? "unknown";
  return { service: line("lsyncd"), timer: line("timer"), version: line("version") };
}

/**
 * The mirror of one host, in order: preflight, packages, activation with all files. Each step waits for the previous one.
 * Nothing on the host changes before the preflight has passed, and no active file changes before the activation. The deployed
 * content is an input of the activation alone, so the state contains it only once it is active.
 */
export class Mirror extends pulumi.ComponentResource {
  readonly state: pulumi.Output<MirrorState>;

  constructor(name: string, args: MirrorArgs, options?: pulumi.ComponentResourceOptions) {
    super("lsyncd:index:Mirror", name, {}, options);
    const { host, files, looked } = args;
    const { refusedBy } = looked;
    // A refused password is not tried again: the commands of an update report it and fail.
    const spared = !pulumi.isDryRun() && refusedBy !== undefined;
    const identity = { stack: args.stack, host: spared ? { ...host, refusedBy } : host };
    // Uncaught on purpose: an error fails the preview, and does not stop other hosts.
    void reportLook(host, looked, this);

    const reason = reasons(looked, args.now);
    // The last arguments of the commands are unknown if the host did not answer. A preview then shows no change of them. An
    // update runs the first command, which fails with the host's name unless the host is back.
    const unknown = looked.answered || !pulumi.isDryRun() ? [] : ["create", "update"];
    const connection = commandConnection(args.connection);
    // Anything derived from a secret file, even a checksum, is hidden too: a password could be guessed from it.
    const hidden = files.some(({ secret }) => secret);

    const command = (
      step: string,
      { stdin, create, ...rest }: commands.HostCommand,
      dependsOn: pulumi.Resource[],
      hide: { stdin?: boolean } = {},
    ): Command => {
      const run = commands.becauseOf(create, step === "preflight" ? reason.first : reason.run);
      return new Command(
        `${name}-${step}`,
        {
          connection,
          create: run,
          update: run,
          ...(rest.delete === undefined ? {} : { delete: rest.delete }),
          stdin: hide.stdin ? pulumi.secret(stdin) : stdin,
          addPreviousOutputInEnv: false,
          logging: step === "preflight" ? "stdoutAndStderr" : "stderr",
        },
        { parent: this, dependsOn, ignoreChanges: unknown },
      );
    };

    const mark = commands.markOf(identity, files);
    const preflight = command("preflight", commands.preflight(identity, files, mark), [], {
      stdin: hidden,
    });
    const packages = command("packages", commands.installPackages(identity), [preflight]);
    const activation = command("activation", commands.activate(identity, files, mark), [preflight, packages]);
    stagedBefore(name, looked.staged, connection, this);

    this.state = pulumi.unsecret(activation.stdout).apply((stdout) => ({
      source: host.source,
      target: host.target,
      ...parseReport(stdout),
    }));
    this.registerOutputs({ state: this.state });
  }
}
