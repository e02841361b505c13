import { spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { ensureToolchain } from "./toolchain";

const root = join(__dirname, "..");

/**
 * `npm run up -- FLAGS` and its like: makes sure the toolchain is there, then runs the engine as `npx pulumi` would,
 * in the repository's root, with this process's terminal. Ends with the engine's exit code.
 */
async function main(args: string[]): Promise<number> {
  const { engine } = await ensureToolchain();
  const env = { ...process.env, PATH: `${engine.folder}:${process.env.PATH ?? ""}` };
  const child = spawn(engine.path, args, { cwd: root, env, stdio: "inherit" });
  // The first Ctrl-C asks the engine to finish what it has begun, so this process must stay until it has.
  process.on("SIGINT", () => undefined);
  for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      resolve(code ?? 128 + constants.signals[signal ?? "SIGTERM"]);
    });
  });
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error((error as Error).message);
    process.exitCode = 1;
  },
);
