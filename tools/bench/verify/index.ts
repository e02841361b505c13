import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { run } from "../../../toolchain/run";
import type { TortureDisk } from "../../torture/disk";
import { whenInterrupted } from "../../torture/interrupted";
import { programs, writeSettings } from "../../torture/settings";
import { mountFor } from "../many/disk";
import { Group } from "../many/group";
import { list, say, wholeNumbers } from "../options";
import { conditions, writeResults } from "../results";
import type { Cost, Verified, VerifyResults } from "./types";

const usage = `What lsyncd-verify costs with many small databases that are equal on both sides.

  npm run bench -- verify [--sizes 1000,10000]

  --sizes    numbers of databases, in one directory`;

const script = path.join(__dirname, "..", "many", "databases.py");

/** Measures on this machine, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      sizes: { type: "string", default: "1000,10000" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const runs: Verified[] = [];
  for (const databases of wholeNumbers("sizes", list(values.sizes))) {
    const found = await measure(databases);
    say(JSON.stringify(found));
    runs.push(found);
  }
  await writeResults("verify", { conditions: await conditions(), runs } satisfies VerifyResults);
  return 0;
}

async function measure(databases: number): Promise<Verified> {
  const root = await mkdtemp(path.join(process.env.BENCH_DIRECTORY ?? tmpdir(), "lsyncd-as-code-verify-"));
  const [source, target, settings] = ["source", "target", "settings"].map((name) => path.join(root, name)) as [
    string,
    string,
    string,
  ];
  const group = Group.make(path.basename(root));
  const disks: TortureDisk[] = [];
  const end = async (): Promise<void> => {
    for (const disk of disks.splice(0)) await disk.remove();
  };
  const inOrder = whenInterrupted(end);
  const cost = async (...command: string[]): Promise<Cost> => {
    const [program = "", ...words] = [...group.through, ...command];
    const [cpu, began] = [group.cpu(), performance.now()];
    await run(program, words, { env: { ...process.env, LSYNCD_SETTINGS: settings } });
    return { seconds: (performance.now() - began) / 1000, cpu: group.cpu() - cpu };
  };
  try {
    for (const where of [source, target]) {
      await mkdir(where);
      disks.push(await mountFor(databases, root, where));
    }
    await writeSettings(settings, { source, target, state: path.join(root, "state") });
    await run("python3", [script, "make", source, String(databases), "1"]);
    await run("rsync", ["-a", `${source}/`, `${target}/`]);
    await run("sync", ["-f", target]);
    const { size } = await stat(path.join(source, "user-000000.sqlite"));
    // The first one reads both sides from memory, as the others do.
    const rsync = await cost("rsync", "-a", "--dry-run", "--checksum", `${source}/`, `${target}/`);
    const verify = (...words: string[]): Promise<Cost> =>
      cost(path.join(programs, "lsyncd-verify"), "--max-age", "-1", ...words);
    return {
      ...{ databases, megabytes: (databases * size) / 1e6, rsync },
      ...{ plain: await verify(), checksum: await verify("--checksum") },
    };
  } finally {
    inOrder();
    await end();
    group.remove();
    await rm(root, { recursive: true, force: true });
  }
}
