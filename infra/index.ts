import { program } from "./program";

/** What an operator asks first about each host. */
export const hosts = program();
// The SDK takes it up a moment later, and reports its error. Until then Node would warn of an unhandled rejection.
hosts.catch(() => undefined);
