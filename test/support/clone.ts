import { cp, mkdir, symlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { run } from "../../toolchain/run";

const root = resolve(__dirname, "../..");

/** Copies the files of this repository, as they are now and without ignored files, and links node_modules into the copy. */
export async function copyRepository(to: string, included: (file: string) => boolean = () => true): Promise<void> {
  const { stdout } = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  for (const name of stdout.split("\0").filter((file) => file !== "" && included(file))) {
    await mkdir(dirname(join(to, name)), { recursive: true });
    await cp(join(root, name), join(to, name)).catch((error: unknown) => {
      // Deleted, and not yet committed.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    });
  }
  await symlink(join(root, "node_modules"), join(to, "node_modules"));
}

/** Commits everything in a folder; makes a repository of it first. */
export async function commitAll(folder: string, message = "x"): Promise<void> {
  const git = (...args: string[]) =>
    run("git", ["-c", "user.name=t", "-c", "user.email=t@example.com", ...args], { cwd: folder });
  await git("init", "--quiet", "--initial-branch=main");
  await git("add", "--all");
  await git("commit", "--quiet", "--message", message);
}
