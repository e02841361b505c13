import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import * as commands from "./commands";
import type { HostSettings, Waiver } from "./config";
import { commandConnection, type Connection } from "./connection";
import { digest, renderFiles } from "./files";
import { leaveWaivers, previewPreflight } from "./observe";
import { HostState } from "./state";

/** What a mirror needs. */
export interface MirrorArgs {
  host: HostSettings;
  connection: Connection;
  /** The stack, as `organization/project/stack`. */
  stack: string;
  /** The refusals that this run passes over. */
  waived: Waiver[];
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
 * The mirror of one host, in order: preflight, packages, one staged file each, activation. Each step waits for the one
 * before; nothing on the host changes before the preflight has passed, and nothing in force before activation.
 */
export class Mirror extends pulumi.ComponentResource {
  readonly state: pulumi.Output<MirrorState>;

  constructor(name: string, args: MirrorArgs, options?: pulumi.ComponentResourceOptions) {
    super("lsyncd:index:Mirror", name, {}, options);
    const { host } = args;
    const identity = { stack: args.stack, host };
    const files = renderFiles(host);
    const deployment = digest(files);
    // The password for sudo is in the standard input of what runs as root.
    const locked = host.user !== "root" && host.becomePassword !== undefined;

    let ready = Promise.resolve();
    if (pulumi.runtime.isDryRun()) {
      const look = commands.previewPreflight(identity, deployment, args.waived);
      void previewPreflight(host.name, args.connection, look, this);
    } else if (args.waived.length > 0) {
      ready = leaveWaivers(host.name, args.connection, commands.leaveWaivers(identity, deployment, args.waived));
    }
    const { create: lookAt, stdin } = commands.observe(identity);
    const state = new HostState(
      `${name}-state`,
      { connection: args.connection, look: { command: lookAt, stdin }, secret: locked },
      { parent: this },
    );
    // Nothing is added until something has drifted, so that the text of a command stays the same for a given host.
    const repairing = (create: string): pulumi.Output<string> =>
      state.revision.apply((revision) => (revision > 0 ? `${create} repair ${String(revision)}` : create));
    const connection = pulumi.secret(ready.then(() => commandConnection(args.connection)));

    // What is made of a secret file, if only a checksum, is not shown either: a password could be guessed from it.
    const hidden = files.some(({ secret }) => secret);

    const command = (
      step: string,
      { stdin, create, ...rest }: commands.HostCommand,
      dependsOn: pulumi.Resource[],
      hide: { create?: boolean; stdin?: boolean } = {},
    ): remote.Command => {
      // A staged file is not sent again for a repair: the host keeps a copy of what is in force.
      const run = step.startsWith("file-") ? create : repairing(create);
      return new remote.Command(
        `${name}-${step}`,
        {
          connection,
          create: hide.create ? pulumi.secret(run) : run,
          update: hide.create ? pulumi.secret(run) : run,
          ...(rest.delete === undefined ? {} : { delete: rest.delete }),
          stdin: hide.stdin ? pulumi.secret(stdin) : stdin,
          addPreviousOutputInEnv: false,
          logging: step === "preflight" ? remote.Logging.StdoutAndStderr : remote.Logging.Stderr,
        },
        { parent: this, dependsOn },
      );
    };

    const preflight = command("preflight", commands.preflight(identity, deployment), [], {
      create: hidden,
      stdin: locked,
    });
    const packages = command("packages", commands.installPackages(identity), [preflight], { stdin: locked });
    const staged = files.map((file) =>
      command(`file-${file.name}`, commands.stage(identity, file), [preflight, packages], { stdin: file.secret }),
    );
    const before = [preflight, packages, ...staged];
    const activation = command("activation", commands.activate(identity, files), before, {
      stdin: hidden || locked,
    });

    this.state = pulumi.unsecret(activation.stdout).apply((stdout) => ({
      source: host.source,
      target: host.target,
      ...parseReport(stdout),
    }));
    this.registerOutputs({ state: this.state });
  }
}
