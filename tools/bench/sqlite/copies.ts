import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { paths } from "../../../infra/paths";
import { run } from "../../../toolchain/run";
import { programs } from "../../torture/settings";
import type { Tools } from "../../torture/tools";
import { startWriters } from "../../torture/workload";
import { say } from "../options";
import type { Copies } from "./types";

/** Calls the copier's own function for one database. */
const copyOne = `my ($source, $target, $name) = @ARGV;
my $done = sync_unit((map { scalar LsyncdAsCode::Beneath::open_beneath($_, '') } $source, $target), $name,
  { lock_seconds => 2, big => 32 << 20, reserve => 0, whole => 1, owner => 1, group => 1, perms => 0 });
die "$done->{why}: $done->{reason}" if $done->{state} ne "copied"`;

/** Duration of copying one database into an empty, idle mirror, by the copier and by rsync. */
export async function copies(
  tools: Tools,
  journal: Copies["journal"],
  megabytes: number,
  runs: number,
): Promise<Copies> {
  const root = await mkdtemp(path.join(tmpdir(), "lsyncd-as-code-bench-"));
  const [source, target] = ["source", "target"].map((name) => path.join(root, name)) as [string, string];
  const name = "a.sqlite";
  const found: Copies = { megabytes, journal, safe: [], rsync: [], rsyncSynced: [] };
  try {
    await run("mkdir", [source, target]);
    const writer = { name: "a", databases: [{ path: name, journal, megabytes }], interval: 0.01, rows: 1 };
    await (
      await startWriters(tools.python, source, [writer])
    )();
    const empty = async (): Promise<void> => {
      for (const file of await readdir(target)) await rm(path.join(target, file));
      await run("sync", []);
    };
    const seconds = async (argv: [string, ...string[]]): Promise<number> => {
      const began = performance.now();
      await run(argv[0], argv.slice(1));
      return (performance.now() - began) / 1000;
    };
    const options = ["-lptgoD", "--inplace", "--no-perms", "--whole-file"];
    for (let turn = 0; turn < runs; turn += 1) {
      await empty();
      found.safe.push(
        await seconds(["perl", "-I", programs, "-MLsyncdAsCode::Copy=sync_unit", "-e", copyOne, source, target, name]),
      );
      await empty();
      found.rsync.push(await seconds([paths.rsyncProgram, ...options, path.join(source, name), `${target}/`]));
      await empty();
      found.rsyncSynced.push(
        await seconds([paths.rsyncProgram, "--fsync", ...options, path.join(source, name), `${target}/`]),
      );
    }
    say(`${megabytes} MB, ${journal}: ${JSON.stringify(found)}`);
    return found;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
