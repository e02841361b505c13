import type { AuthenticationType, ConnectConfig } from "ssh2";
import type { Endpoint } from "../schema";

/**
 * How to log in, in the official plugin's order: private key, password (also for questions the host asks), agent.
 * Throws if there is no login method.
 */
export function loginOptions(endpoint: Endpoint, env: NodeJS.ProcessEnv): ConnectConfig & { agent?: string } {
  const methods: AuthenticationType[] = [];
  const options: ConnectConfig & { agent?: string } = { username: endpoint.user };
  if (endpoint.privateKey !== undefined) {
    methods.push("publickey");
    options.privateKey = endpoint.privateKey;
    if (endpoint.privateKeyPassword !== undefined) options.passphrase = endpoint.privateKeyPassword;
  }
  if (endpoint.password !== undefined) {
    methods.push("password", "keyboard-interactive");
    options.password = endpoint.password;
    options.tryKeyboard = true;
  }
  const agent = endpoint.agentSocketPath ?? env.SSH_AUTH_SOCK ?? "";
  if (agent !== "") {
    methods.push("agent");
    options.agent = agent;
  }
  if (methods.length === 0) {
    throw new Error("no login method: set privateKey or password, or start an ssh-agent");
  }
  return { ...options, authHandler: methods };
}
