import { program } from "./program";

/** What an operator asks first about each host. */
export const hosts = program();
