import type { Value } from "./values";

/** One input of a Command, as @pulumi/command 1.2.1 declares it. */
export interface Field {
  type: "string" | "boolean" | "number" | "integer" | "list" | "map" | "object";
  /** Why the field can't be left out. */
  required?: string;
  /** Kept encrypted in the state, and never shown. */
  secret?: true;
  default?: Value;
  oneOf?: readonly string[];
  fields?: Fields;
}
export type Fields = Record<string, Field>;

const endpoint: Fields = {
  host: { type: "string", required: "it is the address to connect to" },
  port: { type: "number", default: 22 },
  user: { type: "string", default: "root" },
  // The official plugin accepts any host when this is missing. A host that may be anyone's gets no root commands here.
  hostKey: { type: "string", required: "without the host's public key anyone could answer in its place" },
  privateKey: { type: "string", secret: true },
  privateKeyPassword: { type: "string", secret: true },
  password: { type: "string", secret: true },
  agentSocketPath: { type: "string" },
  dialErrorLimit: { type: "integer", default: 10 },
  perDialTimeout: { type: "integer", default: 15 },
};

const connection: Fields = { ...endpoint, proxy: { type: "object", fields: endpoint } };

/** The inputs of command:remote:Command. */
export const commandInputs: Fields = {
  create: { type: "string" },
  update: { type: "string" },
  delete: { type: "string" },
  triggers: { type: "list" },
  stdin: { type: "string" },
  logging: { type: "string", oneOf: ["stdout", "stderr", "stdoutAndStderr", "none"] },
  environment: { type: "map" },
  addPreviousOutputInEnv: { type: "boolean" },
  connection: { type: "object", required: "it selects the host", secret: true, fields: connection },
};

/** Where and how to log in. Times are in seconds; a dialErrorLimit of -1 tries for ever. */
export interface Endpoint {
  host: string;
  port: number;
  user: string;
  hostKey: string;
  privateKey?: string;
  privateKeyPassword?: string;
  password?: string;
  agentSocketPath?: string;
  dialErrorLimit: number;
  perDialTimeout: number;
}

/** An endpoint, and the bastion on the way to it. */
export interface Connection extends Endpoint {
  proxy?: Endpoint;
}

/** The inputs of a Command after the check: complete, typed, without secret marks. */
export interface CommandInputs {
  create?: string;
  update?: string;
  delete?: string;
  stdin?: string;
  logging?: "stdout" | "stderr" | "stdoutAndStderr" | "none";
  environment?: Record<string, string>;
  addPreviousOutputInEnv?: boolean;
  connection: Connection;
}
