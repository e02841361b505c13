import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { run } from "../../toolchain/run";
import { answeringHosts } from "../../tools/bench/hundred/hosts";
import { Stack } from "../../tools/stack";

jest.setTimeout(300_000);

const root = resolve(__dirname, "../..");

let directory: string;
let home: string;
let stack: Stack;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-log-"));
  // A home in which the engine is installed and has never run.
  home = join(directory, "home");
  await mkdir(home);
  for (const name of ["versions", "plugins"]) await symlink(join(homedir(), ".pulumi", name), join(home, name));
  stack = await new Stack({ name: "engine-log", directory }).init();
  // Settings that the program refuses, so that no host is needed.
  await stack.configure([], { hosts: [] });
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

/** Runs a command of this repository; returns its output. */
async function command(...args: string[]): Promise<string> {
  const flags = ["--stack", "engine-log", "--config-file", stack.configFile];
  const env = { ...stack.environment(), PULUMI_HOME: home, TMPDIR: directory };
  const { stdout, stderr } = await run(process.execPath, ["--import", "tsx", ...args, ...flags], {
    cwd: root,
    env,
    allowFailure: true,
  });
  return stdout + stderr;
}

it.each([
  ["npm run up", ["cli/pulumi.ts", "up", "--yes", "--skip-preview"]],
  ["npm run preview", ["cli/preview.ts"]],
])("%s has the engine write no log, and keeps everything else in its home", async (_name, args) => {
  await writeFile(join(home, "credentials.json"), '{"current":"kept"}');
  expect(await command(...args)).toContain("lsyncd:hosts");
  const left = await readdir(home);
  expect(left).not.toContain("logs");
  expect(left).toContain("workspaces");
  expect(await readFile(join(home, "credentials.json"), "utf8")).toBe('{"current":"kept"}');
  expect((await readdir(directory)).filter((name) => name.startsWith("lsyncd-as-code"))).toEqual([]);
});

it("the engine alone, as npx pulumi starts it, does write one", async () => {
  await stack.pulumi(["preview"], { allowFailure: true, env: { PULUMI_HOME: home } });
  expect(await readdir(join(home, "logs"))).not.toEqual([]);
});

it("a file's text is not sent to the engine a second time, as a debug message", async () => {
  const answering = await answeringHosts(1);
  try {
    await stack.configure(answering.hosts, { alertRecipients: "root@localhost.localdomain" });
    const { code, stdout } = await stack.pulumi(["preview", "--debug"], { allowFailure: true });
    expect(code).toBe(0);
    expect(stdout).toMatch(/debug: .*RegisterResource RPC prepared/);
    expect(stdout).toMatch(/… \(\d{6,} characters\)/);
    expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThan(3000);
  } finally {
    await answering.stop();
  }
});
