// The first step of every npm script: makes sure that Node is new enough and that node_modules matches package-lock.json, then
// runs the given TypeScript file or a package's program. Plain JavaScript, because it runs before packages are installed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const { onSuitableNode, quietly, settleHome } = require("./node.cjs");

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const modules = join(root, "node_modules");
const stamp = join(modules, ".installed-from");

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** A hash of what should be installed and of what npm has installed: another npm ci or npm prune changes the latter. */
function installation() {
  const hash = createHash("sha256");
  for (const file of [join(root, "package-lock.json"), join(modules, ".package-lock.json")])
    hash.update(existsSync(file) ? readFileSync(file) : "");
  return hash.digest("hex");
}

try {
  settleHome();
  await onSuitableNode();
} catch (error) {
  fail(error.message);
}

if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== installation()) {
  console.error("Installing node_modules (npm ci) …");
  // Everything, even if NODE_ENV or npm's settings exclude some packages.
  const npm = spawnSync("npm", ["ci", ...quietly, "--include=dev", "--include=optional"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (npm.error) fail(`npm could not be started: ${npm.error.message}`);
  if (npm.status !== 0) fail("npm ci failed, see above. Nothing was deployed.");
  writeFileSync(stamp, installation());
}

// The first argument of an npm script is a description: `npm run` alone prints it, and it is ignored here.
const words = process.argv.slice(2);
const [script, ...args] = words[0]?.includes(" ") ? words.slice(1) : words;
if (script !== undefined) {
  process.env.PATH = `${join(modules, ".bin")}:${process.env.PATH ?? ""}`;
  const file = script.endsWith(".ts") ? join(root, script) : realpathSync(join(modules, ".bin", script));
  // In this process, as if Node had been started with that file.
  process.argv.splice(1, Infinity, file, ...args);
  if (script.endsWith(".ts")) require("../infra/typescript.cjs").readTypescript();
  Module.runMain();
}
