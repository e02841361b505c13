import * as pulumi from "@pulumi/pulumi";
import type { Connection } from "./connection";
import type { LookInputs } from "./drift";

/**
 * What runs in the engine's plugin for dynamic resources. Written as text, and as little as possible: what the SDK
 * would make of a function is longer, is kept in the state for each host, changes with every edit, and takes a second
 * of each run to make. The plugin runs in the project's directory, and reads TypeScript with tsx.
 */
const provider = `exports.handler = () => {
  const root = process.cwd() + "/package.json";
  return require("node:module").createRequire(root)("tsx/cjs/api").require("./infra/state-provider.ts", root).provider;
};
`;

/** What a host's state needs. */
export interface HostStateArgs {
  connection: pulumi.Input<Connection>;
  /** What looks at the host, and its standard input. */
  look: Omit<LookInputs, "connection">;
  /** The standard input holds a password. */
  secret: boolean;
}

/** What a host really has: looked at by a refresh, so that the engine sees what someone changed by hand. */
export class HostState extends pulumi.CustomResource {
  /** Feeds the commands that repair: it goes up when something drifted. */
  declare readonly revision: pulumi.Output<number>;

  constructor(name: string, { connection, look, secret }: HostStateArgs, options: pulumi.CustomResourceOptions) {
    super(
      "pulumi-nodejs:dynamic/lsyncd:HostState",
      name,
      {
        connection: pulumi.secret(connection),
        command: look.command,
        stdin: secret ? pulumi.secret(look.stdin) : look.stdin,
        drift: undefined,
        revision: undefined,
        __provider: provider,
      },
      options,
    );
  }
}
