import { access, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../toolchain/run";
import { writeSettings } from "../../tools/torture/settings";
import { library, PretendedHost } from "../support/monitor";

// lsyncd-wait with a mirror that the test controls.

const program = resolve(__dirname, "../../templates/usr/local/lib/lsyncd-as-code/lsyncd-wait");
let host: PretendedHost;
beforeEach(async () => {
  host = await PretendedHost.make();
  await mkdir(host.at("run"), { recursive: true });
});
afterEach(() => host.remove());

const wait = async (...args: string[]) => {
  const began = Date.now();
  const { code, stderr } = await run(program, args, {
    env: { ...process.env, LSYNCD_SETTINGS: host.at("settings") },
    allowFailure: true,
  });
  return { code, stderr, seconds: (Date.now() - began) / 1000 };
};
const isThere = (name: string) =>
  access(host.at(name)).then(
    () => true,
    () => false,
  );
/** Waits until the probe is in the source; returns its name. */
const probe = async (): Promise<string> => {
  for (;;) {
    const name = (await readdir(host.at("source"))).find((one) => one.startsWith(".lsyncd-wait."));
    if (name !== undefined) return name;
    await sleep(20);
  }
};
/** Mirrors the probe as a call of rsync does. */
const arrive = async () => {
  const name = await probe();
  await run("cp", [host.at(`source/${name}`), host.at(`target/${name}`)]);
};
/** Whether it is still waiting after a second. */
const waits = async (waiting: Promise<unknown>) => {
  const first = await Promise.race([waiting.then(() => "done"), sleep(1000, "waits")]);
  return first === "waits";
};

it("works right after a boot, when nothing has made the directory of the run yet", async () => {
  await rm(host.at("run"), { recursive: true });
  const waiting = wait();
  await arrive();
  expect(await waiting).toMatchObject({ code: 0, stderr: "" });
});

it("returns when a file made after the call has arrived, and leaves nothing in the source", async () => {
  const waiting = wait("--timeout", "20");
  expect(await waits(waiting)).toBe(true);
  await arrive();
  expect(await waiting).toMatchObject({ code: 0, stderr: "" });
  expect(await readdir(host.at("source"))).toEqual([]);
});

it("waits until the rsync call that brought the file ends, because its other files may come later", async () => {
  const waiting = wait("--timeout", "20");
  await probe();
  await writeFile(host.at("run/pass.77"), "");
  await arrive();
  expect(await waits(waiting)).toBe(true);
  await run("rm", [host.at("run/pass.77")]);
  expect((await waiting).code).toBe(0);
});

it("starts over when a call proves nothing, and first waits for the pass that makes up for it", async () => {
  const waiting = wait("--timeout", "20");
  await probe();
  await writeFile(host.at("run/pass.77"), "");
  await arrive();
  await sleep(300);
  await writeFile(host.at("run/proves-nothing"), "");
  await writeFile(host.at("run/resync"), "");
  await run("rm", [host.at("run/pass.77")]);
  expect(await waits(waiting)).toBe(true);
  await run("rm", [host.at("run/resync")]);
  expect(await waits(waiting)).toBe(true);
  await arrive();
  expect((await waiting).code).toBe(0);
});

it("waits for the databases of its path that were queued so far, and not for later ones", async () => {
  const queue = (...records: [number, string][]) =>
    writeFile(
      host.at("state/sqlite/queue"),
      records.map(([at, path]) => `\0${(Date.now() / 1000 + at).toFixed(3)} ${path}\0`).join(""),
    );
  await queue([-1, "mail/a.sqlite"]);
  const waiting = wait("--timeout", "20");
  const elsewhere = wait("--timeout", "20", host.at("source/other"));
  await sleep(500);
  for (const name of await readdir(host.at("source"))) await run("cp", [host.at(`source/${name}`), host.at("target")]);
  expect((await elsewhere).code).toBe(0);
  expect(await waits(waiting)).toBe(true);
  await queue([4, "mail/a.sqlite"]);
  expect((await waiting).code).toBe(0);
  // Queued before, by a clock that was ahead then.
  await queue([600, "mail/a.sqlite"]);
  const behind = wait("--timeout", "3");
  await sleep(500);
  for (const name of await readdir(host.at("source"))) await run("cp", [host.at(`source/${name}`), host.at("target")]);
  const { code, stderr } = await behind;
  expect([code, stderr]).toEqual([1, expect.stringContaining("databases to be copied")]);
});

it.each([
  ["held", 3, "the mirror is held"],
  ["failover", 3, "the mirror is held"],
  ["nothing", 1, "not mirrored within 1 s, still waiting for a new file to arrive"],
])("%s: exits with %i", async (mark, code, message) => {
  if (mark !== "nothing") await writeFile(host.at(`state/${mark}`), "");
  const ended = await wait("--timeout", "1");
  expect(ended.code).toBe(code);
  expect(ended.stderr).toContain(message);
  expect(await readdir(host.at("source"))).toEqual([]);
});

it("refuses unknown arguments and a path outside the source", async () => {
  expect((await wait("--timeout", "soon")).code).toBe(2);
  expect((await wait("--patient")).code).toBe(2);
  const outside = await wait("/etc");
  expect([outside.code, outside.stderr]).toEqual([2, expect.stringContaining("/etc is not in the source")]);
  expect(await readdir(host.at("source"))).toEqual([]);
});

it("is not satisfied by a call of rsync that deletes the probe of an earlier one", async () => {
  const first = wait("--timeout", "20");
  const earlier = await probe();
  await arrive();
  expect((await first).code).toBe(0);
  const second = wait("--timeout", "20");
  await probe();
  // lsyncd listed the earlier name before the second call; files that were written since are not in that list.
  await run("bash", ["-c", `cd "$0" && if [ -e "source/$1" ]; then cp "source/$1" target; fi`, host.folder, earlier]);
  expect(await waits(second)).toBe(true);
  await arrive();
  expect((await second).code).toBe(0);
});

it("is not satisfied by a full pass, which has looked at some files before they were written", async () => {
  await writeFile(host.at("source/file"), "before");
  // lsyncd starts: the pass has looked at the file when that is written; its listing ends with the probe.
  const rsync = `#!/bin/bash
case "$*" in *--dry-run*)
  touch '${host.at("listing")}'
  until [ -e '${host.at("listed")}' ]; do sleep 0.05; done
  cd '${host.at("source")}' && for name in .lsyncd-wait.*; do echo ">f+++++++++ 12 $name"; done ;;
*) cd '${host.at("source")}' && cp .lsyncd-wait.* '${host.at("target")}' ;;
esac
`;
  await host.write({ rsync, guard: "#!/bin/sh\n" });
  await writeSettings(host.at("of-rsync"), {
    ...{ source: host.at("source"), target: host.at("target"), state: host.at("run"), guard: host.at("guard") },
    ...{ rsyncProgram: host.at("rsync"), copyProgram: host.at("rsync") },
  });
  const call = (args: string[], input: string) =>
    run(join(library, "rsync-wrapper"), [...args, host.at("source/"), host.at("target/")], {
      env: { ...process.env, LSYNCD_SETTINGS: host.at("of-rsync") },
      input,
      allowFailure: true,
    });
  const pass = call(["-r"], "");
  while (!(await isThere("listing"))) await sleep(20);
  await writeFile(host.at("source/file"), "written before the call");
  const waiting = wait("--timeout", "30");
  await probe();
  await writeFile(host.at("listed"), "");
  expect(await pass).toMatchObject({ code: 0 });
  expect(await waits(waiting)).toBe(true);
  const events = ["/", "/file", `/${await probe()}`].join("\0");
  expect(await call(["-r", "--from0", "--include-from=-", "--exclude=*"], events)).toMatchObject({ code: 0 });
  expect((await waiting).code).toBe(0);
}, 60_000);

it("removes the probe of a killed call, and follows no link in its place", async () => {
  await writeFile(host.at("precious"), "precious");
  await run("ln", ["-s", host.at("precious"), host.at("source/.lsyncd-wait.123")]);
  await writeFile(host.at("run/wait.1.lock"), ".lsyncd-wait.123");
  const ended = await wait("--timeout", "1");
  expect(ended.code).toBe(1);
  expect((await run("cat", [host.at("precious")])).stdout).toBe("precious");
});
