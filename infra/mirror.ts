import { Command } from "./command";
import * as commands from "./commands";
import type { HostSettings } from "./config";
import { commandConnection, type Connection } from "./connection";
import { reasons } from "./drift";
import type { RenderedFile } from "./files";
import { reportLook, type Looked } from "./observe";
import * as pulumi from "./pulumi";
import { stagedBefore } from "./takeover";

/** What a mirror needs. */
export interface MirrorArgs {
  host: HostSettings;
  connection: Connection;
  /** The stack, as `organization/project/stack`. */
  stack: string;
  /** The host's managed files. */
  files: RenderedFile[];
  /** What the host said when it was looked at. */
  looked: Looked;
  /** When this run began. */
  now: Date;
}

/** What an operator asks first about a host. */
export interface MirrorState {
  source: string;
  target: string;
  service: string;
  timer: string;
  version: string;
}

/** Reads the lines that activation prints at its end. */
export function parseReport(stdout: string): Pick<MirrorState, "service" | "timer" | "version"> {
  const line = (key: string): string => new RegExp(`^${key}: (.*)$`, "m").exec(stdout)?.[1] ?? "unknown";
  return { service: line("lsyncd"), timer: line("timer"), version: line("version") };
}

/**
 * The mirror of one host, in order: preflight, packages, activation with all files. Each step waits for the one before;
 * nothing on the host changes before the preflight has passed, and nothing in force before activation. What is deployed is
 * an input of the activation alone, so the state has it once it is in force.
 */
export class Mirror extends pulumi.ComponentResource {
  readonly state: pulumi.Output<MirrorState>;

  constructor(name: string, args: MirrorArgs, options?: pulumi.ComponentResourceOptions) {
    super("lsyncd:index:Mirror", name, {}, options);
    const { host, files, looked } = args;
    const { refusedBy } = looked;
    // A password that was refused is not tried again: the commands of an update say so instead, and fail.
    const spared = !pulumi.isDryRun() && refusedBy !== undefined;
    const identity = { stack: args.stack, host: spared ? { ...host, refusedBy } : host };
    // Uncaught: what it throws fails the preview, and holds up no other host.
    void reportLook(host, looked, this);

    const reason = reasons(looked, args.now);
    // Of a host that did not answer nobody knows what its commands were called with last. A preview says nothing of it. An
    // update runs what it begins with, which fails with the host's name, or else the host is there again.
    const unknown = looked.answered || !pulumi.isDryRun() ? [] : ["create", "update"];
    const connection = commandConnection(args.connection);
    // What is made of a secret file, if only a checksum, is not shown either: a password could be guessed from it.
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

    const preflight = command("preflight", commands.preflight(identity, files), [], {
      stdin: hidden,
    });
    const packages = command("packages", commands.installPackages(identity), [preflight]);
    const activation = command("activation", commands.activate(identity, files), [preflight, packages]);
    stagedBefore(name, looked.staged, connection, this);

    this.state = pulumi.unsecret(activation.stdout).apply((stdout) => ({
      source: host.source,
      target: host.target,
      ...parseReport(stdout),
    }));
    this.registerOutputs({ state: this.state });
  }
}
