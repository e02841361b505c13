import { mkdtemp, mkdir, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { run } from "../../../toolchain/run";
import { TortureDisk } from "../../torture/disk";
import { whenInterrupted } from "../../torture/interrupted";
import { prepareTools, type Tools } from "../../torture/tools";
import { Group } from "../many/group";
import { known, list, say, wholeNumbers } from "../options";
import { conditions, readResults, writeResults } from "../results";
import { contenders } from "./contenders";
import { ways, type Beside, type BesideResults, type Way } from "./types";

const usage = `Other ways to copy many small databases, on the same data: rsync -a from cron every two minutes, and Litestream.

  npm run bench -- beside [--sizes 1000,10000] [--ways ${ways.join(",")}] [--rate 40] [--seconds 300]

  --sizes    numbers of databases, in one directory
  --ways     who takes part
  --rate     commits a second, on random databases
  --seconds  how long commits go on

Litestream is built with Go on first use.`;

/** Copies that are opened at the end. */
const OPENED = 100;
/** Seconds for the first copies. */
const FIRST = 900;

const databases = path.join(__dirname, "..", "many", "databases.py");

/** Measures on this machine, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      sizes: { type: "string", default: "1000,10000" },
      ways: { type: "string", default: ways.join(",") },
      rate: { type: "string", default: "40" },
      seconds: { type: "string", default: "300" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const sizes = wholeNumbers("sizes", list(values.sizes));
  const [perSecond = 40] = wholeNumbers("rate", [values.rate]);
  const [seconds = 300] = wholeNumbers("seconds", [values.seconds]);
  const wanted = known("way", list(values.ways), ways);
  const tools = await prepareTools();
  for (const number of sizes)
    for (const way of wanted) {
      const found = await measure(tools, way, { number, perSecond, seconds });
      say(JSON.stringify(found));
      const before = ((await readResults("beside")) as BesideResults | undefined)?.runs ?? [];
      const others = before.filter((one) => one.way !== way || one.databases !== number);
      await writeResults("beside", {
        conditions: await conditions(),
        runs: [...others, found],
      } satisfies BesideResults);
    }
  return 0;
}

async function measure(
  tools: Tools,
  way: Way,
  { number, perSecond, seconds }: { number: number; perSecond: number; seconds: number },
): Promise<Beside> {
  const root = await mkdtemp(path.join(process.env.BENCH_DIRECTORY ?? tmpdir(), "lsyncd-as-code-beside-"));
  const [source, target] = [path.join(root, "source"), path.join(root, "target")];
  const group = Group.make(path.basename(root));
  const disks: TortureDisk[] = [];
  const field = { tools, root, source, target, group };
  const contender = await contenders[way](field, say);
  const end = async (): Promise<void> => {
    await contender.kill();
    for (const disk of disks.splice(0)) await disk.remove();
  };
  const inOrder = whenInterrupted(end);
  let memory = 0;
  const looking = setInterval(() => {
    memory = Math.max(
      memory,
      [...group.memory().values()].reduce((sum, one) => sum + one, 0),
    );
  }, 1000);
  try {
    for (const where of [source, target]) {
      await mkdir(where, { recursive: true });
      disks.push(await TortureDisk.mount(root, where, 1000 + Math.ceil(number * 0.3), Math.max(number * 12, 40_000)));
    }
    await run("python3", [databases, "make", source, String(number), "1"]);
    const names = (await readdir(source)).filter((name) => name.endsWith(".sqlite")).sort();
    await contender.start();
    for (let copied = 0, started = performance.now(); copied < number; copied = contender.copied(names)) {
      if (performance.now() - started > FIRST * 1000)
        throw new Error(`${way} has copied ${copied} of ${number} databases within ${FIRST} s`);
      await sleep(1000);
    }
    const [cpu, began] = [group.cpu(), performance.now()];
    const args = [databases, "write", source, target, number, 1, perSecond, seconds].map(String);
    const written = JSON.parse((await run("python3", args)).stdout) as Pick<Beside, "commits" | "lag">;
    const took = (performance.now() - began) / 1000;
    const used = (group.cpu() - cpu) / took;
    await contender.kill();
    const opened = await open(contender.restore, names, path.join(root, "opened.sqlite"));
    return { way, databases: number, perSecond, seconds, ...written, cpu: used, memory, ...opened };
  } finally {
    clearInterval(looking);
    inOrder();
    await end();
    group.remove();
    await rm(root, { recursive: true, force: true });
  }
}

/** Opens some copies, as after the loss of the source. */
async function open(
  restore: (name: string, to: string) => Promise<void>,
  names: string[],
  to: string,
): Promise<{ copies: number; open: number }> {
  const step = Math.max(1, Math.floor(names.length / OPENED));
  const some = names.filter((_, i) => i % step === 0).slice(0, OPENED);
  let fine = 0;
  for (const name of some) {
    const check =
      "import sqlite3, sys; sys.exit(sqlite3.connect(sys.argv[1]).execute('pragma integrity_check').fetchall() != [('ok',)])";
    try {
      await restore(name, to);
      await run("python3", ["-c", check, to]);
      fine += 1;
    } catch {
      // It counts as one that does not open.
    }
    for (const suffix of ["", "-wal", "-shm"]) await rm(to + suffix, { force: true });
  }
  return { copies: some.length, open: fine };
}
