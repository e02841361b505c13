import type { ServerHostKeyAlgorithm } from "ssh2";
import { loginOptions, type LoginOptions } from "../../../../infra/ssh-connect";
import type { Endpoint } from "../schema";

// Where the official plugin is strict and the program's own connections need not be.

/**
 * The signature algorithms to ask for, so that the host answers with the key of this type: the one with the type's name, as
 * the official plugin asks. For ssh-rsa that is SHA-1, which OpenSSH servers no longer offer since 8.8.
 */
export function algorithmsOf(type: string): ServerHostKeyAlgorithm[] {
  // ssh2 knows which algorithms it has, and refuses the others by name.
  return [type as ServerHostKeyAlgorithm];
}

/** How to log in: also with a configured agent if there is a private key. Throws if no login is set. */
export function waysIn(endpoint: Endpoint, env: NodeJS.ProcessEnv): LoginOptions {
  const agent = endpoint.agentSocketPath ?? env.SSH_AUTH_SOCK ?? "";
  const login = loginOptions(endpoint, agent === "" ? undefined : agent);
  if (login.authHandler.length === 0)
    throw new Error("no login method: set privateKey or password, or start an ssh-agent");
  return login;
}
