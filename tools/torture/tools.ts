import { access, mkdir, readdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { ensurePrograms } from "../../toolchain/programs";
import { pypi, pythonEnvironment } from "../python";
import { run } from "../../toolchain/run";
import { quote } from "../sandbox";

/** The programs of the torture test. */
export interface Tools {
  /** A Python with SQLite3 Multiple Ciphers, which writes plain and encrypted databases. */
  python: string;
  lsyncd: string;
}

const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), ".cache"), "lsyncd-as-code", "torture");

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** The installed lsyncd, or Debian's package unpacked (not installed, so that no service starts) into a cache. */
async function findLsyncd(): Promise<string> {
  for (const directory of (process.env.PATH ?? "").split(":")) {
    if (await exists(path.join(directory, "lsyncd"))) return path.join(directory, "lsyncd");
  }
  const root = path.join(CACHE, "lsyncd");
  // Named like the program: processes are recognised by it.
  const start = path.join(root, "lsyncd");
  if (!(await exists(start))) {
    await mkdir(root, { recursive: true });
    await run("apt-get", ["download", "lsyncd", "liblua5.3-0"], { cwd: root });
    const debs = (await readdir(root)).filter((name) => name.endsWith(".deb"));
    for (const deb of debs) await run("dpkg", ["-x", path.join(root, deb), root]);
    const script = `#!/bin/sh\nLD_LIBRARY_PATH=$(echo ${quote(`${root}/usr/lib`)}/*) exec ${quote(`${root}/usr/bin/lsyncd`)} "$@"\n`;
    await writeFile(start, script, { mode: 0o755 });
  }
  return start;
}

/** Gets what is missing; a second call finds it in the cache. */
export async function prepareTools(): Promise<Tools> {
  const say = (line: string): boolean => process.stderr.write(`torture: ${line}\n`);
  await ensurePrograms(["rsync"], say);
  await mkdir(CACHE, { recursive: true });
  const programs = await pythonEnvironment([pypi.apsw], say);
  return { python: path.join(programs, "python"), lsyncd: await findLsyncd() };
}
