import { program } from "./program";

/** The stack's outputs: a summary of each host. */
export const hosts = program();
// The SDK takes it up a moment later, and reports its error. Until then Node would warn of an unhandled rejection.
hosts.catch(() => undefined);
