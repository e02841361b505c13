import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { library, writeSettings } from "../support/host-settings";

// lsyncd-supervisor with substitutes for lsyncd, the guard and systemd. Tests on hosts (faults-mounts) show what it does when
// a volume is unmounted.

let folder: string;
let supervisor: ChildProcess | undefined;
let receiver: ChildProcess | undefined;
let ended: Promise<number>;
let said = "";
const at = (name: string): string => join(folder, name);
const text = (name: string) => readFile(at(name), "utf8").catch(() => "");
const exists = (name: string) =>
  stat(at(name)).then(
    () => true,
    () => false,
  );

const script = (name: string, body: string) => writeFile(at(name), `#!/bin/bash\n${body}\n`, { mode: 0o755 });

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lsyncd-as-code-supervisor-"));
  said = "";
  await script("guard", `[ ! -e '${at("refused")}' ] || { cat '${at("refused")}' >&2; exit 1; }`);
  await script("systemctl", `echo "$@" >>'${at("systemctl.log")}'`);
  await mkdir(at("target/.lsyncd-as-code"), { recursive: true, mode: 0o700 });
  await script(
    "lsyncd",
    `echo "$LSYNCD_RUN" >'${at("run")}'; trap 'echo again >>${at("passes")}' HUP; trap 'exit 143' TERM
     echo "$@" >'${at("started")}'
     while :; do sleep 0.05; [ ! -e '${at("end")}' ] || exit 9; done`,
  );
});
afterEach(async () => {
  receiver?.kill("SIGKILL");
  supervisor?.kill("SIGKILL");
  await script("lsyncd", "exit 0");
  await writeFile(at("end"), "");
  await ended;
  await new Promise((resolve) => setTimeout(resolve, 150)); // lsyncd after a killed one sees this
  await rm(folder, { recursive: true });
});

const exitOf = (child: ChildProcess): Promise<number> =>
  new Promise((resolve) => {
    child.on("close", (code) => {
      resolve(code ?? 128);
    });
  });

/** Collects what `systemctl status` would show, a line for each text, in the file "shown". */
async function showStatus(): Promise<NodeJS.ProcessEnv> {
  const receive = `my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die; open my $out, ">>", $ARGV[1] or die;
    $out->autoflush; while (defined $socket->recv(my $text, 4096)) { print {$out} "$text\\n" }`;
  receiver = spawn("perl", ["-MIO::Socket::UNIX", "-MIO::Handle", "-e", receive, at("notify"), at("shown")]);
  await until("it can receive messages", () => exists("notify"));
  return { NOTIFY_SOCKET: at("notify") };
}

async function start(more: NodeJS.ProcessEnv = {}, through: string[] = []): Promise<void> {
  const names = ["guard", "lsyncd_program", "resync_file", "pass_prefix", "monitor_ran_file", "sqlite_state_directory"];
  const files = ["guard", "lsyncd", "resync", "pass.", "ran", "sqlite"];
  names.push("target", "run_directory");
  files.push("target", "");
  const settings = Object.fromEntries(names.map((name, index) => [name, at(files[index] ?? "")]));
  const volumes = { source: at("source"), target: at("target") };
  const env = await writeSettings(at("settings"), { ...settings, ...volumes, config_file: "/the/configuration" });
  const [program = "", ...args] = through.concat(join(library, "lsyncd-supervisor"));
  supervisor = spawn(program, args, { env: { ...env, PATH: `${folder}:${env.PATH ?? ""}`, ...more } });
  supervisor.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  ended = exitOf(supervisor);
}

async function until(what: string, is: () => Promise<boolean> | boolean): Promise<void> {
  for (let round = 0; round < 200; round += 1) {
    if (await is()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not within 20 s: ${what}; it said: ${said}`);
}

it("waits while the guard refuses, gives the reason once, and then starts lsyncd in the foreground", async () => {
  await writeFile(at("refused"), "lsyncd-guard: the source volume is not mounted\n");
  await start();
  await until("it says why", () => said.includes("waiting"));
  expect(said).toBe("lsyncd-guard: the source volume is not mounted\nwaiting\n");
  expect(await exists("started")).toBe(false);
  await rm(at("refused"));
  await until("lsyncd runs", () => exists("started"));
  expect(await text("started")).toBe("-nodaemon /the/configuration\n");
  expect(said).toBe("lsyncd-guard: the source volume is not mounted\nwaiting\n");
});

it("exits with 143 when it is stopped, and stops lsyncd", async () => {
  await start();
  await until("lsyncd runs", () => exists("started"));
  supervisor?.kill("SIGTERM");
  expect(await ended).toBe(143);
});

it("fails when lsyncd exits by itself", async () => {
  await start();
  await until("lsyncd runs", () => exists("started"));
  await writeFile(at("end"), "");
  expect(await ended).toBe(9);
  expect(said).toContain("lsyncd exited on its own: exit code 9");
});

it("starts a full pass after one that left files behind, and after one that was killed", async () => {
  await writeFile(at("resync"), "");
  await writeFile(at("pass.4194999"), "");
  await start();
  await until("lsyncd runs", () => exists("started"));
  // A start is a full pass, so earlier failures no longer count.
  expect([await exists("resync"), await exists("pass.4194999")]).toEqual([false, false]);
  await writeFile(at("resync"), "");
  await until("a pass after a mark", async () => (await text("passes")) === "again\n");
  expect(await exists("resync")).toBe(false);
  await writeFile(at("pass.4194999"), "");
  await until("a pass after one that was killed", async () => (await text("passes")) === "again\nagain\n");
  expect(said).toContain("a pass was killed, mirroring everything again");
});

describe("files that may not be on the mirror's disk", () => {
  const record = "target/.lsyncd-as-code/unsynced";
  /** As a pass does before it writes. */
  const passBegins = async (count: number) => {
    await writeFile(at("passes-begun"), `${count}\n`);
    if (!(await exists(record))) await writeFile(at(record), `${(await text("run")).trim()} 1000\n`, { mode: 0o600 });
  };
  const since = async () => Number((await text(record)).split(" ")[1]);

  it("are synced while lsyncd runs: the record is removed, or moves on during a pass, and this repeats", async () => {
    await start();
    await until("lsyncd runs", () => exists("started"));
    await writeFile(at(`pass.${process.pid}`), "");
    await passBegins(1);
    await until("it moves on", async () => (await since()) > 1e9);
    const moved = await since();
    expect(Math.abs(Date.now() / 1000 - moved)).toBeLessThan(30);
    await rm(at(`pass.${process.pid}`));
    await until("it goes", async () => !(await exists(record)));
    await passBegins(2);
    await until("it goes again", async () => !(await exists(record)));
  }, 90_000);

  it("of a run that did not stop cleanly are left to the first pass", async () => {
    await writeFile(at(record), "another 1000\n", { mode: 0o600 });
    await writeFile(at("passes-begun"), "1\n");
    await start();
    await until("lsyncd runs", () => exists("started"));
    expect(await text("run")).toMatch(/^\d+\.\d+\.[0-9a-f]{8}\n$/);
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    supervisor?.kill("SIGTERM");
    await ended;
    expect(await text(record)).toBe("another 1000\n");
  }, 60_000);

  it("are synced on a clean stop, and not on a kill", async () => {
    await start();
    await until("lsyncd runs", () => exists("started"));
    await passBegins(1);
    supervisor?.kill("SIGTERM");
    expect(await ended).toBe(143);
    expect(await exists(record)).toBe(false);
    await rm(at("started"));
    await start();
    await until("lsyncd runs", () => exists("started"));
    await passBegins(2);
    supervisor?.kill("SIGKILL");
    await writeFile(at("end"), "");
    await ended;
    expect(await exists(record)).toBe(true);
  });
});

it("names a missing setting", async () => {
  await start();
  await until("lsyncd runs", () => exists("started"));
  supervisor?.kill("SIGTERM");
  await ended;
  await writeFile(at("settings/mirror.conf"), 'source = "/a"\n');
  said = "";
  supervisor = spawn(join(library, "lsyncd-supervisor"), { env: { ...process.env, LSYNCD_SETTINGS: at("settings") } });
  supervisor.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  ended = exitOf(supervisor);
  expect(await ended).not.toBe(0);
  expect(said).toContain(`${at("settings/mirror.conf")}: the setting lsyncd_program is missing`);
});

describe("the state in `systemctl status`", () => {
  it("no longer says that it mirrors once lsyncd has exited", async () => {
    await start(await showStatus());
    await until("it mirrors", async () => (await text("shown")) === "STATUS=mirroring\n");
    await writeFile(at("end"), "");
    expect(await ended).toBe(9);
    expect(await text("shown")).toBe("STATUS=mirroring\nSTATUS=not mirroring: lsyncd has ended\n");
  });

  it("no longer says that it mirrors once a volume is unmounted, even while lsyncd is stopping", async () => {
    await script("lsyncd", `trap '' TERM; echo $$ >'${at("started")}'; while :; do sleep 0.05; done`);
    // The volume is unmounted in a mount namespace of this test.
    const unmount = `mkdir -p '${at("target")}' && mount -t tmpfs none '${at("target")}' || exit 99
      (while [ ! -e '${at("unmount")}' ]; do sleep 0.1; done; umount -l '${at("target")}') & exec "$@"`;
    await start(await showStatus(), ["unshare", "-m", "bash", "-c", unmount, "bash"]);
    await until("it mirrors", async () => (await text("shown")) === "STATUS=mirroring\n");
    await writeFile(at("unmount"), "");
    await until("it says so", async () =>
      (await text("shown")).endsWith("STATUS=not mirroring: the volumes' mounts have changed\n"),
    );
    expect(supervisor?.exitCode).toBeNull();
    process.kill(Number(await text("started")), "SIGKILL");
    expect(await ended).toBe(1);
  });
});
