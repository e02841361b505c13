// The first step of every npm script: makes node_modules match package-lock.json, then runs the given
// TypeScript file. Plain JavaScript and no imports from packages, because it runs before there are any.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const modules = join(root, "node_modules");
const stamp = join(modules, ".installed-from");

function fail(message) {
  console.error(message);
  process.exit(1);
}

const major = Number(process.versions.node.split(".")[0]);
if (major < 20) {
  fail(`Node 20 or newer is needed, this is ${process.version}. Install it, for example with nvm: nvm install`);
}

const lock = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
  console.error("Installing node_modules (npm ci) …");
  const npm = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (npm.error) fail(`npm could not be started: ${npm.error.message}`);
  if (npm.status !== 0) fail("npm ci failed, see above. Nothing was deployed.");
  writeFileSync(stamp, lock);
}

// An npm script says first what it is for: `npm run` alone shows it, and nothing reads it.
const words = process.argv.slice(2);
const [script, ...args] = words[0]?.endsWith(".ts") ? words : words.slice(1);
if (script !== undefined) {
  process.env.PATH = `${join(modules, ".bin")}:${process.env.PATH ?? ""}`;
  // In this very process, as if Node had been started with that file.
  process.argv.splice(1, Infinity, join(root, script), ...args);
  const require = createRequire(import.meta.url);
  require("../infra/typescript.cjs").readTypescript();
  Module.runMain();
}
