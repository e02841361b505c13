import type { remote } from "@pulumi/command";
import { version } from "@pulumi/command/package.json";
import * as pulumi from "./pulumi";

/**
 * `remote.Command` of @pulumi/command, registered as that package registers it. Its own class would load the whole SDK,
 * see pulumi.ts; a unit test compares the two.
 */
export class Command extends pulumi.CustomResource {
  declare readonly stdout: pulumi.Output<string>;

  constructor(name: string, args: remote.CommandArgs, options: pulumi.CustomResourceOptions) {
    super(
      "command:remote:Command",
      name,
      { ...args, connection: pulumi.secret(args.connection), stdout: undefined, stderr: undefined },
      { version, additionalSecretOutputs: ["connection"], ...options },
    );
  }
}
