import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { engineArguments, type EngineArguments } from "./become/arguments";
import type { Loans } from "./become/lend";
import { stateOnce } from "./checkpoints";
import { homeWithoutLog } from "./engine-home";
import { ensureToolchain } from "../toolchain";

const root = join(__dirname, "..");

const say = (line: string): void => {
  console.error(line);
};

/** Whether an ssh-agent accepts connections at this socket. */
async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => {
      resolve(false);
    });
  });
}

/**
 * The engine's environment; `directory` is this run's. The command plugin fails if the ssh-agent is gone, even when it has a private
 * key, so such an agent is removed from the environment. A host whose preflight fails does not stop an update of the others. The
 * preview of an update shares what it learns with the rest of the run (infra/passwords.ts).
 */
async function environment(
  directory: string,
  path: string,
  command: string,
  targets: string[],
): Promise<NodeJS.ProcessEnv> {
  const home = await homeWithoutLog(directory, process.env);
  const env: NodeJS.ProcessEnv = { ...process.env, ...home, PATH: `${path}:${process.env.PATH ?? ""}` };
  const agent = env.SSH_AUTH_SOCK ?? "";
  if (agent !== "" && !(await answers(agent))) {
    say(`The ssh-agent in SSH_AUTH_SOCK does not answer (${agent}); this run does not use it.`);
    delete env.SSH_AUTH_SOCK;
  }
  if (command === "up") {
    env.PULUMI_SKIP_CHECKPOINTS ??= stateOnce.PULUMI_SKIP_CHECKPOINTS;
    env.LSYNCD_ONE_HOST_STOPS_NO_OTHER = "true";
    if (targets.length > 0) env.LSYNCD_TARGETS = JSON.stringify(targets);
    env.LSYNCD_RUN_DIRECTORY = directory;
  }
  return env;
}

/**
 * Gets root's rights for this run if the password is to be asked for, or if the stack is destroyed. In all other cases the
 * program itself uses the password in the settings; it does not run during a destroy.
 */
async function lend({ askBecomePass, name }: EngineArguments, command: string): Promise<Loans | undefined> {
  if (!askBecomePass && command !== "destroy") return undefined;
  // Loading this when it is not needed would cost each run some tenths of a second.
  const { lendForRun } = require("./become") as typeof import("./become");
  try {
    return await lendForRun(name, askBecomePass, say);
  } catch (error) {
    if (askBecomePass) throw error;
    say(`Could not read the sudo passwords: ${(error as Error).message}`);
    return undefined;
  }
}

/**
 * `npm run up -- FLAGS` and similar: makes sure that the toolchain is installed, then runs the engine like `npx pulumi`,
 * in the repository's root, with this process's terminal. Exits with the engine's exit code.
 */
async function main(args: string[]): Promise<number> {
  const { engine } = await ensureToolchain();
  const options = engineArguments(args);
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-run-"));
  let loans: Loans | undefined;
  try {
    const env = await environment(directory, engine.folder, args[0] ?? "", options.targets);
    loans = await lend(options, args[0] ?? "");
    return await runEngine(engine.path, options.args, env);
  } finally {
    loans?.end();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Runs the engine and returns its exit code. */
async function runEngine(path: string, args: string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(path, args, { cwd: root, env, stdio: "inherit" });
  // The first Ctrl-C asks the engine to finish the operations in progress, so this process must wait for it.
  process.on("SIGINT", () => undefined);
  for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise<number>((resolve, reject) => {
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
