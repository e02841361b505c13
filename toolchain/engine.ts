import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, copyFile, mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { download, downloadEnding } from "./download";
import { isExecutable, markedHash, marker, replaceFolder } from "./files";
import { goBuild, goModuleFolder, type GoProgram, requireGo } from "./go";
import { ENGINE_VERSION, type Home } from "./home";
import { type Say, step } from "./progress";

const root = join(__dirname, "..");

const ENGINE: GoProgram = {
  folder: join(__dirname, "go", "engine"),
  package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
  version: ENGINE_VERSION,
};

/** The last release of the SDK's module that contains the language host; later ones have a separate module for it. */
const LANGUAGE_HOST: GoProgram = {
  folder: join(__dirname, "go", "language-nodejs"),
  package: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
  version: "3.68.0",
};
/** Starts it, in its place. */
const LANGUAGE_HOST_START = join(LANGUAGE_HOST.folder, "pulumi-language-nodejs");
const SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3";

/** Scripts that come with the language host: dynamic providers and policies run through them. */
const COMPANIONS = ["pulumi-resource-pulumi-nodejs", "pulumi-analyzer-policy"];

/** Files that the engine's folder must contain to run a Node program. */
const NEEDED = ["pulumi", "pulumi-language-nodejs", "pulumi-resource-pulumi-nodejs"];

/** Where the engine came from: its publisher's build, or built here from its Go modules. */
export type EngineOrigin = "publisher" | "built";

export interface Engine {
  version: string;
  /** The folder with the engine and its language host; goes first on PATH. */
  folder: string;
  path: string;
  origin: EngineOrigin;
  languageHost: { path: string; version: string };
}

/** The engine that `npx pulumi` would use, or undefined if it would have to download one. */
export function findEngine(home: Home): Engine | undefined {
  const folder = join(home.engine, "bin");
  if (!isComplete(home.engine)) return undefined;
  const origin = markedHash(home.engine) === undefined ? "publisher" : "built";
  return {
    version: ENGINE_VERSION,
    folder,
    path: join(folder, "pulumi"),
    origin,
    languageHost: {
      path: join(folder, "pulumi-language-nodejs"),
      version: origin === "built" ? LANGUAGE_HOST.version : ENGINE_VERSION,
    },
  };
}

/** Whether the engine was built here from other sources than those pinned now. */
export function isOutdated(home: Home): boolean {
  const hash = markedHash(home.engine);
  return hash !== undefined && hash !== recipeHash();
}

/**
 * Downloads the engine with the publisher's own package. On failure, resolves with the reason.
 * Assembles it in `staging`, on the same file system, so that a killed download leaves nothing incomplete.
 */
export async function downloadEngine(
  home: Home,
  staging: string,
  env: NodeJS.ProcessEnv,
  say: Say,
): Promise<string | undefined> {
  const launcher = join(root, "node_modules", "pulumi", "run.js");
  const fetchIt = (): Promise<string | undefined> =>
    download(process.execPath, [launcher, "version"], {
      env: { ...env, PULUMI_HOME: staging, PULUMI_VERSION: ENGINE_VERSION, PULUMI_SKIP_UPDATE_CHECK: "true" },
      timeout: 20,
      // The package prints this before the download begins.
      greeting: `Downloading pulumi v${ENGINE_VERSION}...\n`.length,
      limit: 900,
    });
  const what = `downloading the Pulumi engine ${ENGINE_VERSION} from its publisher`;
  const reason = await step(say, what, fetchIt, downloadEnding);
  if (reason !== undefined) return reason;
  const downloaded = join(staging, "versions", ENGINE_VERSION);
  if (!isComplete(downloaded)) return "the download is incomplete";
  await replaceFolder(downloaded, home.engine);
  return undefined;
}

/** Builds the engine and its language host from their Go modules. Throws a message of one line if there is no usable Go. */
export async function buildEngine(home: Home, staging: string, env: NodeJS.ProcessEnv, say: Say): Promise<void> {
  await requireGo(ENGINE, env);
  say(
    `building the Pulumi engine ${ENGINE_VERSION} from its Go modules instead: 3 to 10 minutes, once; ` +
      `needs about 3.5 GB in Go's caches and is kept in ${home.engine}`,
  );
  const built = join(staging, "built");
  const bin = join(built, "bin");
  await mkdir(bin, { recursive: true });
  await mkdir(join(built, "lib"));
  await step(say, "building its language host", async () => {
    await goBuild(LANGUAGE_HOST, join(built, "lib", "pulumi-language-nodejs"), env);
    const scripts = join(await goModuleFolder(LANGUAGE_HOST, SDK_MODULE, env), "nodejs", "dist");
    for (const from of [LANGUAGE_HOST_START, ...COMPANIONS.map((name) => join(scripts, name))]) {
      const to = join(bin, basename(from));
      await copyFile(from, to);
      // Go keeps its module cache read-only, without execute bits.
      await chmod(to, 0o755);
    }
  });
  await step(say, "building the engine itself", () => goBuild(ENGINE, join(bin, "pulumi"), env));
  const { path, content } = marker(built, recipeHash());
  await writeFile(path, content);
  await replaceFolder(built, home.engine);
}

function isComplete(folder: string): boolean {
  return NEEDED.every((name) => isExecutable(join(folder, "bin", name)));
}

/** A hash of the pinned modules from which the engine is built. */
function recipeHash(): string {
  const hash = createHash("sha256");
  for (const { folder, version } of [ENGINE, LANGUAGE_HOST]) {
    hash
      .update(version)
      .update(readFileSync(join(folder, "go.sum")))
      .update(readFileSync(join(folder, "go.mod")));
  }
  return hash.update(readFileSync(LANGUAGE_HOST_START)).digest("hex");
}
