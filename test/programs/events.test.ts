import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { installTime, needPrograms } from "../support/programs";

// Checks on the running kernel what docs/on-a-host.md says about writes that lsyncd cannot see.

let events: Map<string, string[]>;
beforeAll(async () => {
  await needPrograms("python3", "losetup");
  const folder = mkdtempSync(join(tmpdir(), "lsyncd-as-code-events-"));
  try {
    const { stdout } = await run("python3", [join(__dirname, "../support/events.py"), folder]);
    const lines = stdout.trimEnd().split("\n");
    events = new Map(lines.map((line) => [line.split("\t")[0] ?? "", line.split("\t").slice(1)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}, installTime);

/** The events of a kind of write, if this machine supports it (io_uring is often disabled, a container has no loop devices). */
const of = (way: string): string[] | undefined => {
  const [done, ...found] = events.get(way) ?? ["failed"];
  return done === "ok" ? found : undefined;
};

it("a write is reported at once", () => {
  expect(of("write")).toEqual(["MODIFY"]);
});

it.each(["mmap", "kernel AIO", "loop device"])("a write through %s is not reported until it ends", (way) => {
  expect(of(way) ?? []).toEqual([]);
});

it("a write through io_uring is reported at once", () => {
  expect(of("io_uring") ?? ["MODIFY"]).toEqual(["MODIFY"]);
});

it("the end is reported: a file is closed, a loop device is detached", () => {
  expect(of("close")).toEqual(["CLOSE_WRITE"]);
  expect(of("detach") ?? ["CLOSE_WRITE"]).toEqual(["CLOSE_WRITE"]);
});
