import { run, type Finished, type RunOptions } from "../run";

/** True when this process is root itself. */
export const isRoot = (): boolean => process.getuid?.() === 0;

/** Administration programs live in sbin, which is not on every user's PATH. */
export function administratorPath(path = process.env.PATH ?? ""): string {
  const wanted = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];
  const present = path.split(":").filter((entry) => entry !== "");
  return [...present, ...wanted.filter((entry) => !present.includes(entry))].join(":");
}

/** Runs a program as root, through sudo unless this process is root. */
export async function asRoot(command: string, args: string[], options: RunOptions = {}): Promise<Finished> {
  const withPath = { ...options, env: { ...(options.env ?? process.env), PATH: administratorPath() } };
  return isRoot() ? run(command, args, withPath) : run("sudo", ["-n", "--", command, ...args], withPath);
}

/** Writes a file as root, with its parent folders, so that a reader sees the old content or the new one. */
export async function writeAsRoot(path: string, content: string, mode = "0644"): Promise<void> {
  const script = 'mkdir -p "${1%/*}" && rm -f "$1.new" && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"';
  await asRoot("sh", ["-c", script, "sh", path, mode], { input: content });
}
