import { run, type Finished } from "./run";

/** True when this process is root itself. */
export const isRoot = (): boolean => process.getuid?.() === 0;

/** Administration programs live in sbin, which is not on every user's PATH. */
export function administratorPath(path = process.env.PATH ?? ""): string {
  const wanted = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];
  const present = path.split(":").filter((entry) => entry !== "");
  return [...present, ...wanted.filter((entry) => !present.includes(entry))].join(":");
}

/**
 * Runs a program as root, through sudo unless this process is root. Files get Debian's usual modes, whatever the user's
 * umask. Throws on a non-zero exit code unless `allowFailure` is set.
 */
export async function asRoot(
  command: string,
  args: string[],
  options: { input?: string; allowFailure?: boolean } = {},
): Promise<Finished> {
  const { input, allowFailure } = options;
  const words = ["-c", 'umask 022 && exec "$@"', "sh", command, ...args];
  const finished = await run(isRoot() ? "sh" : "sudo", isRoot() ? words : ["-n", "--", "sh", ...words], {
    env: { ...process.env, PATH: administratorPath() },
    allowFailure: true,
    ...(input === undefined ? {} : { input }),
  });
  if (finished.code === 0 || allowFailure) return finished;
  const output = `${finished.stdout}\n${finished.stderr}`.trim().split("\n").slice(-40).join("\n");
  throw new Error(`As root, ${command} ${args.join(" ")} exited with ${finished.code}:\n${output}`);
}

/** Writes a file as root, with its parent folders; a reader sees either the old or the new content. */
export async function writeAsRoot(path: string, content: string, mode = "0644"): Promise<void> {
  const script = 'mkdir -p "${1%/*}" && rm -f "$1.new" && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"';
  await asRoot("sh", ["-c", script, "sh", path, mode], { input: content });
}
