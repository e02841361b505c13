import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { script } from "../../infra/commands/script";
import { installTime, needPrograms } from "../support/programs";

// Other lsyncds and their configurations, as the preflight finds and reads them.

let root: string;
const processes: ChildProcess[] = [];

beforeAll(() => needPrograms("lua5.3", "python3"), installTime);
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "foreign-"));
  chmodSync(root, 0o755);
});
afterEach(() => {
  for (const one of processes.splice(0)) one.kill("SIGKILL");
  rmSync(root, { recursive: true });
});

const VARIABLES = { TARGET: "/mnt/storage_do_2" };

/** Runs a command with the preflight's functions. Returns its output, seconds, and the most memory of a process of it in MiB. */
function call(command: string): { text: string; seconds: number; memory: number } {
  const measured = `import resource, subprocess, sys, time
began = time.monotonic()
text = subprocess.run(["bash", "--norc", "-u", "-c", sys.stdin.read()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
sys.stderr.write(f"{time.monotonic() - began} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}")
sys.stdout.buffer.write(text)`;
  const input = `${script(VARIABLES, ["report.sh", "foreign.sh"])}\n${command}`;
  const { stdout, stderr } = spawnSync("python3", ["-c", measured], { input, encoding: "utf8", maxBuffer: 1 << 28 });
  const [seconds = NaN, memory = NaN] = stderr.split(" ").map(Number);
  return { text: stdout, seconds, memory };
}

describe("a configuration", () => {
  const read = (lua: string) => {
    writeFileSync(join(root, "x.lua"), lua);
    return call(`syncs_of '${root}/x.lua'`);
  };
  const sync = 'sync { default.rsync, source = "/a", target = "/b" }\n';

  it("is read, also if it computes its mirrors", () => {
    expect(read(`settings { logfile = "/x" }\n${sync}`).text).toBe("/a\t/b\n");
    const many = 'for i = 1, 3 do sync { default.rsyncssh, source = "/" .. i, host = "h", targetdir = "/t" } end';
    expect(read(many).text).toBe("/1\th:/t\n/2\th:/t\n/3\th:/t\n");
  });

  it("that needs much memory is not read to its end", () => {
    const { text, memory } = read(`${sync}local t = string.rep("x", 1e9)\nsync { source = "/c", target = "/d" }`);
    expect(text).toBe("/a\t/b\n\n");
    expect(memory).toBeLessThan(256);
  });

  it("that never ends is ended", () => {
    const { text, seconds } = read(`${sync}while true do end`);
    expect(text).toBe("/a\t/b\n\n");
    expect(seconds).toBeLessThan(30);
  }, 60_000);

  it("that lists mirrors for ever is cut off", () => {
    expect(read(`while true do ${sync} end`).text.split("\n").length).toBeLessThan(1100);
  }, 60_000);

  it("with an error says so", () => {
    expect(read(`${sync}local x = nil + 1`).text).toBe("/a\t/b\n\n");
    expect(read("this is no Lua").text).toBe("\n");
  });

  it("that could not be read to its end is a warning, and a mirror that it lists before is refused", () => {
    writeFileSync(join(root, "x.lua"), `${sync}local x = nil + 1`);
    const text = `${script({ ...VARIABLES, SOURCE: "/s", STATE: root, ID: "a/b/c/d" }, ["report.sh", "foreign.sh", "checks.sh"])}
      CONFIG='${root}/x.lua'
      target_is_ours
      printf '%s\n' "warns: \${warnings[*]}" "refuses: \${findings[*]}"`;
    const { stdout } = spawnSync("bash", ["--norc", "-u", "-c", 'eval "$(cat)"'], { input: text, encoding: "utf8" });
    expect(stdout).toContain(
      `warns: The lsyncd configuration ${root}/x.lua could not be read to its end: it has an error, or needs more than 10 s or 256 MiB. ` +
        "If it mirrors to /mnt/storage_do_2, stop that lsyncd and remove the file.",
    );
    expect(stdout).toContain(`refuses: Another lsyncd configuration, ${root}/x.lua, mirrors /a to /b.`);
  });
});

describe("a process named lsyncd", () => {
  /** Starts one that names a configuration in its command line; returns its id. */
  async function start(user: string): Promise<number> {
    copyFileSync("/usr/bin/perl", join(root, "lsyncd"));
    chmodSync(join(root, "lsyncd"), 0o755);
    writeFileSync(join(root, "mine.lua"), "");
    const args = ["--reuid", user, "--clear-groups", join(root, "lsyncd"), "-e", "sleep 600", join(root, "mine.lua")];
    const one = spawn("setpriv", args, { stdio: "ignore" });
    processes.push(one);
    while (!spawnSync("pgrep", ["-x", "lsyncd"], { encoding: "utf8" }).stdout.split("\n").includes(String(one.pid)))
      await sleep(50);
    return Number(one.pid);
  }
  const configs = () => call("foreign_configs /nowhere").text;
  const warnings = () => call("check_users_lsyncd; printf '%s\\n' \"${warnings[@]}\"").text;

  it("of root counts: its configuration is read", async () => {
    const pid = await start("root");
    expect(configs()).toContain(join(root, "mine.lua"));
    expect(warnings()).not.toContain(`Process ${pid} `);
  }, 30_000);

  it("of another user is a warning, and its configuration is not read", async () => {
    const pid = await start("nobody");
    expect(configs()).not.toContain(root);
    expect(warnings()).toContain(
      `Process ${pid} of user nobody is named lsyncd, and was not examined. If it mirrors to /mnt/storage_do_2, stop it.`,
    );
  }, 30_000);
});
