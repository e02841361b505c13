import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TortureDisk } from "../../torture/disk";
import { whenInterrupted } from "../../torture/interrupted";
import { Mirror } from "../../torture/mirror";
import type { Tools } from "../../torture/tools";
import { startWriters, type Writer } from "../../torture/workload";
import { say } from "../options";
import type { MirroredBy, Written } from "./types";

/** The workloads, by their names on the page. Without a pause between transactions no commit would be quick. */
export const workloads: Record<string, Writer> = {
  "8 MB, WAL": { name: "w", rows: 20, interval: 0.01, databases: [{ path: "a.sqlite", journal: "wal", megabytes: 8 }] },
  "8 MB, rollback journal": {
    ...{ name: "w", rows: 20, interval: 0.01 },
    databases: [{ path: "a.sqlite", journal: "delete", megabytes: 8 }],
  },
  "500 MB, WAL": {
    ...{ name: "w", rows: 20, interval: 0.01 },
    databases: [{ path: "a.sqlite", journal: "wal", megabytes: 500 }],
  },
  "500 MB, rollback journal": {
    ...{ name: "w", rows: 20, interval: 0.01 },
    databases: [{ path: "a.sqlite", journal: "delete", megabytes: 500 }],
  },
  "50 of 0.2 MB in turn, half of them WAL": {
    ...{ name: "w", rows: 3, interval: 0.002 },
    databases: Array.from({ length: 50 }, (_, i) => ({
      path: `${i}.sqlite`,
      journal: i % 2 === 0 ? ("wal" as const) : ("delete" as const),
      megabytes: 0.2,
    })),
  },
};

/** Runs one writer for some seconds, with or without a mirror that has the first copy already. */
export async function writers(tools: Tools, workload: string, by: MirroredBy, seconds: number): Promise<Written> {
  const writer = workloads[workload];
  if (!writer) throw new Error(`no such workload: ${workload}`);
  const root = await mkdtemp(path.join(tmpdir(), "lsyncd-as-code-bench-"));
  const mirror = new Mirror({ lsyncd: tools.lsyncd, root, safe: by === "safe" });
  let disk: TortureDisk | undefined;
  const inOrder = whenInterrupted(async () => {
    mirror.kill();
    await disk?.remove();
  });
  try {
    await mirror.prepare();
    disk = await TortureDisk.mount(root, mirror.target, 3000);
    // The databases are filled and mirrored first; that is not what is measured.
    await (
      await startWriters(tools.python, mirror.source, [writer])
    )();
    if (by !== "none") {
      mirror.start();
      await sleep(3000);
      await mirror.caughtUp();
    }
    const before = await disk.written();
    const end = await startWriters(tools.python, mirror.source, [writer]);
    await sleep(seconds * 1000);
    const latencies = (await end()).get(writer.name);
    if (!latencies) throw new Error("the writer printed no latencies");
    const target = (await disk.written()) - before;
    const found = { workload, by, seconds, ...latencies, target };
    say(`${workload}, ${by}: ${JSON.stringify(found)}`);
    return found;
  } finally {
    inOrder();
    await mirror.stop();
    await disk?.remove();
    await rm(root, { recursive: true, force: true });
  }
}
