import { ensureToolchain, type Toolchain } from ".";

const ORIGINS = {
  publisher: "from its publisher",
  built: "built from its Go modules",
  path: "found on PATH",
  official: "the official plugin",
  fallback: "this project's fallback, toolchain/command-provider",
};

/** The report of `npm run toolchain`: what is in use, its origin and its location. */
function account({ engine, commandPlugin }: Toolchain): string {
  return [
    `engine          pulumi ${engine.version}, ${ORIGINS[engine.origin]}: ${engine.path}`,
    `language host   nodejs ${engine.languageHost.version}: ${engine.languageHost.path}`,
    `command plugin  ${commandPlugin.version}, ${ORIGINS[commandPlugin.origin]}: ${commandPlugin.path}`,
  ].join("\n");
}

const HELP = `Install the Pulumi engine, its language host and the command plugin if they are missing, and list them.

Usage: npm run toolchain [-- --refresh]

Options:
  --refresh  try again to download what was built here`;

const args = process.argv.slice(2);
if (args.some((argument) => argument !== "--refresh")) {
  console.error(HELP);
  process.exitCode = args.includes("--help") ? 0 : 2;
} else {
  ensureToolchain({ refresh: args.includes("--refresh") }).then(
    (toolchain) => {
      console.log(account(toolchain));
    },
    (error: unknown) => {
      console.error(`toolchain: ${(error as Error).message}`);
      process.exitCode = 1;
    },
  );
}
