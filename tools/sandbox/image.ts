import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { machineCodename, machineReachSettings, machineSources, sourcesFor } from "./apt";
import { withLock } from "./lock";
import { imagesDir, lockPath } from "./paths";
import { asRoot, writeAsRoot } from "./privilege";
import type { Log, Release } from "./types";

/**
 * What a small Debian server has. lsyncd is left out on purpose: installing it is the program's job.
 * `main` of the release has all of them.
 */
const packages = [
  "ca-certificates",
  "dbus",
  "e2fsprogs",
  "iproute2",
  "openssh-server",
  "procps",
  "rsync",
  "sqlite3",
  "sudo",
  "systemd",
  "systemd-sysv",
];

const guestFiles = join(__dirname, "guest");
const prepareScript = join(__dirname, "prepare-image.sh");

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Changes with everything an image is made from, and with nothing else. */
function imageKey(release: Release, sources: string[], reach: string[]): string {
  const hash = createHash("sha256").update(JSON.stringify([release, packages, sources, reach]));
  for (const file of [...filesBelow(guestFiles), prepareScript])
    hash.update(file.slice(__dirname.length)).update(readFileSync(file));
  return hash.digest("hex").slice(0, 12);
}

/**
 * The root directory of a release's image: read only, shared by all hosts, made the first time it is asked for
 * (20 to 60 s, about 300 MB). Package lists stay in it, so that a host can install packages without an update first.
 */
export async function ensureImage(release: Release, log: Log): Promise<string> {
  const sources = sourcesFor(release, machineSources(), machineCodename());
  const reach = await machineReachSettings();
  const dir = join(imagesDir(), `${release}-${imageKey(release, sources, reach)}`);
  if (existsSync(dir)) return dir;
  return withLock(lockPath(`image-${release}`), async () => {
    if (!existsSync(dir)) await buildImage(dir, release, sources, reach, log);
    return dir;
  });
}

async function buildImage(dir: string, release: Release, sources: string[], reach: string[], log: Log): Promise<void> {
  log(`Building the Debian ${release} image in ${dir} (20 to 60 s, once)`);
  mkdirSync(imagesDir(), { recursive: true, mode: 0o700 });
  const building = `${dir}.building`;
  await asRoot("rm", ["-rf", "--one-file-system", building]);
  await asRoot("mmdebstrap", [
    "--mode=root",
    "--format=directory",
    "--variant=minbase",
    "--skip=cleanup/apt/lists",
    `--include=${packages.join(",")}`,
    ...reach.map((line) => `--aptopt=${line.replace(/;$/, "")}`),
    release,
    building,
    ...sources,
  ]);
  if (reach.length > 0) await writeAsRoot(join(building, "etc/apt/apt.conf.d/90machine"), `${reach.join("\n")}\n`);
  await asRoot("bash", [prepareScript, building, guestFiles]);
  await asRoot("mv", ["-T", building, dir]);
}
