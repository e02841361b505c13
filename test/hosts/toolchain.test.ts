/** The toolchain, with a PULUMI_HOME and an engine of the test's own: nothing is downloaded, and nothing of the user's is touched. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { ensureToolchain } from "../../toolchain";
import { requireGo } from "../../toolchain/go";
import { homeOf } from "../../toolchain/home";

jest.setTimeout(60_000);

const root = join(__dirname, "..", "..");
let folder: string;
let env: NodeJS.ProcessEnv;
let said: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "toolchain-"));
  env = { ...process.env, PULUMI_HOME: join(folder, "pulumi") };
  said = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const say = (line: string): void => {
  said.push(line);
};

function script(path: string, text: string): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}

/** An engine that is complete to look at, and runs this when it is asked to install a plugin. */
function fakeEngine(install: string): void {
  const bin = join(homeOf(env).engine, "bin");
  script(join(bin, "pulumi"), install);
  for (const name of ["pulumi-language-nodejs", "pulumi-resource-pulumi-nodejs"]) script(join(bin, name), "");
}

const OFFLINE = "echo 'error: no such host' >&2; exit 1";

test("where the official plugin can't be had, the fallback is installed, once, and it answers", async () => {
  fakeEngine(OFFLINE);
  const { commandPlugin, engine } = await ensureToolchain({ env, say });
  expect(engine.origin).toBe("publisher");
  expect(commandPlugin.origin).toBe("fallback");
  expect(said.join("\n")).toContain("no such host");
  const port = await run("timeout", ["5", commandPlugin.path], { allowFailure: true });
  expect(Number(port.stdout)).toBeGreaterThan(0);

  said = [];
  const start = Date.now();
  await ensureToolchain({ env, say });
  expect(said).toEqual([]);
  expect(Date.now() - start).toBeLessThan(500);
});

test("a fallback made from other sources is made again", async () => {
  fakeEngine(OFFLINE);
  const { commandPlugin } = await ensureToolchain({ env, say });
  const marker = join(commandPlugin.path, "..", "lsyncd-as-code.json");
  const fresh = readFileSync(marker, "utf8");
  writeFileSync(marker, '{"hash":"old"}');
  writeFileSync(commandPlugin.path, "old");
  await ensureToolchain({ env, say });
  expect(readFileSync(marker, "utf8")).toBe(fresh);
  expect(readFileSync(commandPlugin.path, "utf8")).not.toBe("old");
});

test("where the official plugin can be had, the fallback is not installed", async () => {
  fakeEngine(`[ "$*" = "plugin install resource command v1.2.1" ] || exit 9
    plugin="$PULUMI_HOME/plugins/resource-command-v1.2.1"
    mkdir -p "$plugin" && echo official >"$plugin/pulumi-resource-command" && chmod +x "$plugin/pulumi-resource-command"`);
  const { commandPlugin } = await ensureToolchain({ env, say });
  expect(commandPlugin.origin).toBe("official");
  expect(readFileSync(commandPlugin.path, "utf8")).toBe("official\n");
});

test("a plugin on PATH is left in charge, unless the engine is told to ignore it", async () => {
  fakeEngine(OFFLINE);
  const ambient = join(folder, "bin", "pulumi-resource-command");
  script(ambient, "");
  env.PATH = `relative:${join(folder, "bin")}:${env.PATH ?? ""}`;
  expect((await ensureToolchain({ env, say })).commandPlugin).toMatchObject({ origin: "path", path: ambient });
  expect(existsSync(homeOf(env).plugins)).toBe(false);
  env.PULUMI_IGNORE_AMBIENT_PLUGINS = "true";
  expect((await ensureToolchain({ env, say })).commandPlugin.origin).toBe("fallback");
});

test("an installation that was cut short is made good", async () => {
  fakeEngine(OFFLINE);
  const { commandPlugin } = homeOf(env);
  mkdirSync(commandPlugin, { recursive: true });
  writeFileSync(`${commandPlugin}.partial`, "");
  mkdirSync(join(homeOf(env).versions, ".lsyncd-as-code-staging-killed"));
  expect((await ensureToolchain({ env, say })).commandPlugin.origin).toBe("fallback");
  expect(existsSync(`${commandPlugin}.partial`)).toBe(false);
  expect(readdirSync(homeOf(env).versions)).toEqual(["3.250.0"]);
});

test("nothing else under PULUMI_HOME is touched", async () => {
  fakeEngine(OFFLINE);
  const folder = join(homeOf(env).plugins, "..");
  const other = join(folder, "credentials.json");
  const plugin = join(homeOf(env).plugins, "resource-random-v4.0.0", "pulumi-resource-random");
  writeFileSync(other, "mine");
  script(plugin, "mine");
  await ensureToolchain({ env, say });
  expect(readFileSync(other, "utf8")).toBe("mine");
  expect(readFileSync(plugin, "utf8")).toContain("mine");
  expect(readdirSync(folder).sort()).toEqual(["credentials.json", "plugins", "versions"]);
});

test("where HOME is not the user's home directory, the plugin is where the engine looks for it", async () => {
  await ensureToolchain();
  mkdirSync(join(folder, ".pulumi"));
  symlinkSync(homeOf(process.env).versions, join(folder, ".pulumi", "versions"));
  const elsewhere = { cwd: root, env: { ...process.env, HOME: folder, PULUMI_HOME: undefined } };
  const { stdout } = await run(process.execPath, ["--import", "tsx", "toolchain/main.ts"], elsewhere);
  expect(stdout).toMatch(/^command plugin +1\.2\.1, /m);
  expect(existsSync(join(folder, ".pulumi", "plugins"))).toBe(false);
  const engine = join(folder, ".pulumi", "versions", "3.250.0", "bin", "pulumi");
  const { stdout: plugins } = await run(engine, ["plugin", "ls"], elsewhere);
  // One on PATH is no installed one, and the engine takes it wherever HOME is.
  if (!stdout.includes("found on PATH")) expect(plugins).toMatch(/^command +resource +1\.2\.1 /m);
});

test("two runs at once wait for each other", async () => {
  fakeEngine(`echo begin >>'${folder}/order'; sleep 1; echo end >>'${folder}/order'; exit 1`);
  const runOnce = (): Promise<unknown> =>
    run(process.execPath, ["--import", "tsx", join(root, "toolchain", "main.ts")], { env, cwd: root });
  await Promise.all([runOnce(), runOnce()]);
  // The second finds everything in place when its turn comes.
  expect(readFileSync(join(folder, "order"), "utf8")).toBe("begin\nend\n");
});

test("the lock of a run that was killed is broken", async () => {
  fakeEngine(OFFLINE);
  const { lock } = homeOf(env);
  const dead = (await run("sh", ["-c", "echo $$"])).stdout.trim();
  const host = (await run("hostname", [])).stdout.trim();
  mkdirSync(lock, { recursive: true });
  mkdirSync(`${lock}.waited`);
  for (const place of [lock, `${lock}.waited`]) writeFileSync(join(place, `${dead}@${host}@1`), "");
  expect((await ensureToolchain({ env, say })).commandPlugin.origin).toBe("fallback");
  expect(said.join()).not.toContain("waiting");
  expect(readdirSync(homeOf(env).versions)).toEqual(["3.250.0"]);
});

describe("without a usable Go", () => {
  const program = { folder: join(root, "toolchain", "go", "engine"), package: "x", version: "1" };

  test("one line says what is needed", async () => {
    const failure = await requireGo(program, { PATH: folder }).catch((error: unknown) => String(error));
    expect(failure).toMatch(/Go 1\.\S+ or newer is needed to build the Pulumi engine: .*; there is no go on PATH\.$/);
  });

  test("an old one is named", async () => {
    script(join(folder, "go"), "echo go1.19.8");
    await expect(requireGo(program, { PATH: folder })).rejects.toThrow(/; the one on PATH is 1\.19\.8\.$/);
  });

  test("one that may not fetch a newer one says so itself", async () => {
    script(join(folder, "go"), "echo 'go: go.mod requires go >= 9 (running go 1.22; GOTOOLCHAIN=local)' >&2; exit 1");
    await expect(requireGo(program, { PATH: folder })).rejects.toThrow(/GOTOOLCHAIN=local\)\.$/);
  });
});
