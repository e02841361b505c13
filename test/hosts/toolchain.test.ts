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

/** An engine that looks complete, and runs this when asked to install a plugin. */
function fakeEngine(install: string): void {
  const bin = join(homeOf(env).engine, "bin");
  script(join(bin, "pulumi"), install);
  for (const name of ["pulumi-language-nodejs", "pulumi-resource-pulumi-nodejs"]) script(join(bin, name), "");
}

const OFFLINE = "echo 'error: no such host' >&2; exit 1";

test("installs the fallback once if the official plugin is unavailable, and the fallback answers", async () => {
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

test("rebuilds a fallback that was built from other sources", async () => {
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

test("does not install the fallback if the official plugin is available", async () => {
  fakeEngine(`[ "$*" = "plugin install resource command v1.2.1" ] || exit 9
    plugin="$PULUMI_HOME/plugins/resource-command-v1.2.1"
    mkdir -p "$plugin" && echo official >"$plugin/pulumi-resource-command" && chmod +x "$plugin/pulumi-resource-command"`);
  const { commandPlugin } = await ensureToolchain({ env, say });
  expect(commandPlugin.origin).toBe("official");
  expect(readFileSync(commandPlugin.path, "utf8")).toBe("official\n");
});

test("uses a plugin on PATH, unless the engine is set to ignore it", async () => {
  fakeEngine(OFFLINE);
  const ambient = join(folder, "bin", "pulumi-resource-command");
  script(ambient, "");
  env.PATH = `relative:${join(folder, "bin")}:${env.PATH ?? ""}`;
  expect((await ensureToolchain({ env, say })).commandPlugin).toMatchObject({ origin: "path", path: ambient });
  expect(existsSync(homeOf(env).plugins)).toBe(false);
  env.PULUMI_IGNORE_AMBIENT_PLUGINS = "true";
  expect((await ensureToolchain({ env, say })).commandPlugin.origin).toBe("fallback");
});

test("repairs an interrupted installation", async () => {
  fakeEngine(OFFLINE);
  const { commandPlugin } = homeOf(env);
  mkdirSync(commandPlugin, { recursive: true });
  writeFileSync(`${commandPlugin}.partial`, "");
  mkdirSync(join(homeOf(env).versions, ".lsyncd-as-code-staging-killed"));
  expect((await ensureToolchain({ env, say })).commandPlugin.origin).toBe("fallback");
  expect(existsSync(`${commandPlugin}.partial`)).toBe(false);
  expect(readdirSync(homeOf(env).versions)).toEqual(["3.250.0"]);
});

test("changes nothing else under PULUMI_HOME", async () => {
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

test("installs the plugin where the engine looks for it, even if HOME is not the user's home directory", async () => {
  await ensureToolchain();
  mkdirSync(join(folder, ".pulumi"));
  symlinkSync(homeOf(process.env).versions, join(folder, ".pulumi", "versions"));
  const elsewhere = { cwd: root, env: { ...process.env, HOME: folder, PULUMI_HOME: undefined } };
  const { stdout } = await run(process.execPath, ["--import", "tsx", "toolchain/main.ts"], elsewhere);
  expect(stdout).toMatch(/^command plugin +1\.2\.1, /m);
  expect(existsSync(join(folder, ".pulumi", "plugins"))).toBe(false);
  const engine = join(folder, ".pulumi", "versions", "3.250.0", "bin", "pulumi");
  const { stdout: plugins } = await run(engine, ["plugin", "ls"], elsewhere);
  // A plugin on PATH does not count as installed, and the engine uses it with any HOME.
  if (!stdout.includes("found on PATH")) expect(plugins).toMatch(/^command +resource +1\.2\.1 /m);
});

test("makes two simultaneous runs wait for each other", async () => {
  fakeEngine(`echo begin >>'${folder}/order'; sleep 1; echo end >>'${folder}/order'; exit 1`);
  const runOnce = (): Promise<unknown> =>
    run(process.execPath, ["--import", "tsx", join(root, "toolchain", "main.ts")], { env, cwd: root });
  await Promise.all([runOnce(), runOnce()]);
  // The second run finds everything installed.
  expect(readFileSync(join(folder, "order"), "utf8")).toBe("begin\nend\n");
});

test("breaks the lock of a killed run", async () => {
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

  test("prints one line that says what is needed", async () => {
    const failure = await requireGo(program, { PATH: folder }).catch((error: unknown) => String(error));
    expect(failure).toMatch(/Go 1\.\S+ or newer is needed to build the Pulumi engine: .*; there is no go on PATH\.$/);
  });

  test("names an outdated Go", async () => {
    script(join(folder, "go"), "echo go1.19.8");
    await expect(requireGo(program, { PATH: folder })).rejects.toThrow(/; the one on PATH is 1\.19\.8\.$/);
  });

  test("passes on the error of a Go that may not download a newer one", async () => {
    script(join(folder, "go"), "echo 'go: go.mod requires go >= 9 (running go 1.22; GOTOOLCHAIN=local)' >&2; exit 1");
    await expect(requireGo(program, { PATH: folder })).rejects.toThrow(/GOTOOLCHAIN=local\)\.$/);
  });
});

test("the language host that is built here gets the option of Pulumi.yaml that the engine does not pass to it", async () => {
  const start = join(folder, "bin", "pulumi-language-nodejs");
  script(join(folder, "lib", "pulumi-language-nodejs"), 'echo "$@"');
  script(start, "");
  writeFileSync(start, readFileSync(join(root, "toolchain/go/language-nodejs/pulumi-language-nodejs"), "utf8"));
  expect((await run(start, ["127.0.0.1:1"], { cwd: root })).stdout).toBe("-typescript=false 127.0.0.1:1\n");
  expect((await run(start, ["127.0.0.1:1"], { cwd: folder })).stdout).toBe("127.0.0.1:1\n");
});
