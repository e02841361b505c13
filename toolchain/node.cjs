// Chooses the Node to run on: the current one or, if that is too old, a pinned one that npm downloads once. Imports no
// packages, because it runs before they are installed, and uses no syntax that an old Node does not understand.
const { spawn, spawnSync } = require("node:child_process");
const { createHash } = require("node:crypto");
const { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } = require("node:fs");
const { constants, homedir, userInfo } = require("node:os");
const { delimiter, join } = require("node:path");

const recipe = join(__dirname, "node");

/** The oldest supported major version, from package.json. */
const oldest = Number(/\d+/.exec(require("../package.json").engines.node)[0]);

/**
 * If HOME is empty or unset (cron, some containers), sets it from the password file: with an empty HOME, npm would create a
 * folder named ~ in the working directory, and Go fails. Throws if the password file has no entry.
 */
exports.settleHome = () => {
  if (process.env.HOME) return;
  try {
    process.env.HOME = userInfo().homedir;
    // An npm that was started with an empty HOME passes this on.
    if (/(^|\/)~\/\.npm$/.test(process.env.npm_config_cache || "")) delete process.env.npm_config_cache;
  } catch {
    throw new Error(`HOME is not set, and user ${process.getuid()} has no entry in the password file: set HOME`);
  }
};

/** Where the pinned Node is kept: a folder for each content of its lock file, below the cache of sandboxes. */
function cachePlace() {
  const { XDG_CACHE_HOME } = process.env;
  const cache = XDG_CACHE_HOME?.startsWith("/") ? XDG_CACHE_HOME : join(homedir(), ".cache");
  const lock = createHash("sha256")
    .update(readFileSync(join(recipe, "package-lock.json")))
    .digest("hex");
  return join(cache, "lsyncd-as-code", "node", lock.slice(0, 16));
}

/** The pinned Node's version, and the name of its package for this machine. */
function pinned() {
  const { optionalDependencies } = require("./node/package.json");
  const name = `node-${process.platform}-${process.arch}`;
  const version = optionalDependencies[name];
  const advice = `Node ${oldest} or newer is needed, this is ${process.version}. Install it, for example with nvm: nvm install`;
  if (version === undefined) throw new Error(`${advice}. None is fetched for ${process.platform} on ${process.arch}`);
  return { name, version, advice };
}

/** The folder with the pinned Node's program; downloads it if it is missing. On failure, throws an error with advice. */
function fetched() {
  const { name, version, advice } = pinned();
  const place = cachePlace();
  const bin = join(place, "node_modules", name, "bin");
  if (existsSync(join(bin, "node"))) return bin;
  console.error(
    `Node ${oldest} or newer is needed, this is ${process.version}: fetching Node ${version} from the npm registry into ${place}, once …`,
  );
  mkdirSync(join(place, ".."), { recursive: true });
  // Assembled beside its place, then renamed: a killed run leaves nothing incomplete.
  const staging = mkdtempSync(`${place}.`);
  try {
    for (const file of ["package.json", "package-lock.json"]) copyFileSync(join(recipe, file), join(staging, file));
    const npm = spawnSync("npm", ["ci", ...quietly, "--include=optional"], { cwd: staging, stdio: ["ignore", 2, 2] });
    if (npm.error) throw new Error(`${advice}. It could not be fetched, npm does not start: ${npm.error.message}`);
    if (npm.status !== 0) throw new Error(`${advice}. It could not be fetched with npm, see above`);
    if (!existsSync(join(place, "node_modules"))) renameSync(staging, place);
  } catch (error) {
    // Another run was quicker.
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return bin;
}

/** npm's options: run no install scripts, and print only errors. */
const quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
exports.quietly = quietly;

/**
 * Returns at once if this process's Node is new enough. Otherwise runs this process again on the pinned Node, which comes
 * first on PATH for its child processes, and exits with its exit code.
 */
exports.onSuitableNode = async () => {
  if (Number(process.versions.node.split(".")[0]) >= oldest) return;
  const bin = fetched();
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH || ""}` };
  const child = spawn(join(bin, "node"), process.argv.slice(1), { env, stdio: "inherit" });
  // A terminal's Ctrl-C also reaches the child, which may need to finish something.
  process.on("SIGINT", () => undefined);
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  await new Promise((_, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => process.exit(code === null ? 128 + constants.signals[signal] : code));
  });
};
