import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const source = join(__dirname, "src");

/** Files beside `source` that the bundle contains. */
const SHARED = ["../../infra/ssh-format.ts"];

/** The packages in the bundle; another version of one results in another provider. */
const BUNDLED = ["@grpc/grpc-js", "@pulumi/pulumi", "google-protobuf", "ssh2"];

/** The file the engine runs. */
export const EXECUTABLE = "pulumi-resource-command";

/** A hash of all sources of the bundle. Takes a few milliseconds. */
export function bundleHash(): string {
  const hash = createHash("sha256").update(readFileSync(__filename));
  const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  for (const file of files.sort()) hash.update(`\0${file}\0`).update(readFileSync(join(source, file)));
  for (const file of SHARED) hash.update(`\0${file}\0`).update(readFileSync(join(__dirname, file)));
  for (const name of BUNDLED) hash.update(`\0${name}@${versionOf(name)}`);
  return hash.digest("hex");
}

/** Writes the provider into the folder, as one executable file that only needs `node` on PATH. */
export async function bundle(folder: string): Promise<void> {
  const { build } = await import("esbuild");
  await mkdir(folder, { recursive: true });
  const outfile = join(folder, EXECUTABLE);
  await build({
    entryPoints: [join(source, "main.ts")],
    outfile,
    bundle: true,
    minify: true,
    platform: "node",
    target: "node22",
    format: "cjs",
    banner: { js: "#!/usr/bin/env node" },
    // Optional native code of ssh2; its JavaScript does the same.
    external: ["*.node", "cpu-features"],
    logLevel: "silent",
  });
  await chmod(outfile, 0o755);
  // Without it, a package.json of `"type": "module"` further up would change what the file means to Node.
  await writeFile(join(folder, "package.json"), `${JSON.stringify({ private: true, type: "commonjs" })}\n`);
}

function versionOf(name: string): string {
  const { version } = JSON.parse(readFileSync(packageFile(name), "utf8")) as { version: string };
  return version;
}

function packageFile(name: string): string {
  return join(__dirname, "..", "..", "node_modules", name, "package.json");
}
