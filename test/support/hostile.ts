import { spawn } from "node:child_process";
import { join } from "node:path";
import { run } from "../../toolchain/run";

/** The loop of an unprivileged user who swaps the entries of directories for links to files outside; see hostile.pl. */
export const hostileProgram = join(__dirname, "hostile.pl");

/** The same user, who exchanges what root makes in a directory, as `.evil.…`, for a file of its own. */
export const theftProgram = join(__dirname, "steal.pl");

/** The user nobody: stands for an application under an attacker's control. */
const user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];

/** Everything outside of the volumes, with checksums, owners and modes, as one text to compare. */
export async function outsideOf(folder: string): Promise<string> {
  const script = `cd "$0" && find . -printf '%p %U:%G %m %y %l\\n' | sort && find . -type f -exec sha256sum {} + | sort`;
  return (await run("bash", ["-c", script, folder])).stdout;
}

/** Text for a shell that runs as this user. */
export const asUser = `setpriv ${user.join(" ")}`;

/**
 * Runs something while the user swaps the entries of these directories. Returns how often something was swapped: a
 * user who did nothing proves nothing.
 */
export const underAttack = (outside: string, directories: string[], action: () => Promise<void>): Promise<number> =>
  during([hostileProgram, outside, ...directories], action);

/** The same while the user exchanges what root makes in this directory (`theftProgram`). */
export const underTheft = (directory: string, action: () => Promise<void>): Promise<number> =>
  during([theftProgram, directory], action);

async function during(program: string[], action: () => Promise<void>): Promise<number> {
  const attacker = spawn("setpriv", [...user, "perl", ...program], { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  attacker.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const ended = new Promise((resolve) => attacker.on("close", resolve));
  try {
    await new Promise((resolve) => setTimeout(resolve, 300));
    await action();
  } finally {
    attacker.kill("SIGTERM");
    await ended;
  }
  return Number(printed);
}
