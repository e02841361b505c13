import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { engineArguments, type EngineArguments } from "./become/arguments";
import type { Loans } from "./become/lend";
import { stateOnce } from "./checkpoints";
import { ensureToolchain } from "../toolchain";

const root = join(__dirname, "..");

const say = (line: string): void => {
  console.error(line);
};

/** Whether somebody answers at the socket of an ssh-agent. */
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
 * The engine's environment. The command plugin fails on an ssh-agent that is gone, even where it has a private key, so
 * such an agent is left out. One host's preflight does not keep an update of the others from beginning, and what the preview
 * of an update has learnt is there for the rest of it (infra/passwords.ts).
 */
async function environment(path: string, command: string, targets: string[]): Promise<NodeJS.ProcessEnv> {
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: `${path}:${process.env.PATH ?? ""}` };
  const agent = env.SSH_AUTH_SOCK ?? "";
  if (agent !== "" && !(await answers(agent))) {
    say(`SSH_AUTH_SOCK names an ssh-agent that does not answer (${agent}); this run goes without.`);
    delete env.SSH_AUTH_SOCK;
  }
  if (command === "up") {
    env.PULUMI_SKIP_CHECKPOINTS ??= stateOnce.PULUMI_SKIP_CHECKPOINTS;
    env.LSYNCD_ONE_HOST_STOPS_NO_OTHER = "true";
    if (targets.length > 0) env.LSYNCD_TARGETS = JSON.stringify(targets);
    env.LSYNCD_RUN_DIRECTORY = await mkdtemp(join(tmpdir(), "lsyncd-as-code-run-"));
  }
  return env;
}

/**
 * Root's rights for this run, where somebody asks for a password, and where all is removed: the program lends with a
 * password of the settings, and a removal runs without it.
 */
async function lend({ askBecomePass, name }: EngineArguments, command: string): Promise<Loans | undefined> {
  if (!askBecomePass && command !== "destroy") return undefined;
  // What is loaded for nothing costs each run some tenths of a second.
  const { lendForRun } = require("./become") as typeof import("./become");
  try {
    return await lendForRun(name, askBecomePass, say);
  } catch (error) {
    if (askBecomePass) throw error;
    say(`Nothing is known of passwords for sudo: ${(error as Error).message}`);
    return undefined;
  }
}

/**
 * `npm run up -- FLAGS` and its like: makes sure the toolchain is there, then runs the engine as `npx pulumi` would,
 * in the repository's root, with this process's terminal. Ends with the engine's exit code.
 */
async function main(args: string[]): Promise<number> {
  const { engine } = await ensureToolchain();
  const options = engineArguments(args);
  const env = await environment(engine.folder, args[0] ?? "", options.targets);
  const loans = await lend(options, args[0] ?? "");
  const child = spawn(engine.path, options.args, { cwd: root, env, stdio: "inherit" });
  // The first Ctrl-C asks the engine to finish what it has begun, so this process must stay until it has.
  process.on("SIGINT", () => undefined);
  for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  return new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      resolve(code ?? 128 + constants.signals[signal ?? "SIGTERM"]);
    });
  }).finally(async () => {
    loans?.end();
    if (env.LSYNCD_RUN_DIRECTORY !== undefined) await rm(env.LSYNCD_RUN_DIRECTORY, { recursive: true, force: true });
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
