import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { machineCodename, machineReachSettings, machineSources, sourcesFor } from "./apt";
import { withLock } from "./lock";
import { imagesDir, lockPath } from "./paths";
import { asRoot } from "../../toolchain/privilege";
import { readSandboxState, sandboxNames } from "./state";
import { until } from "./until";
import type { Log, Release } from "./types";

/** The packages of a small Debian server, all from `main`. lsyncd is missing on purpose: the program installs it. */
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

/** Debian's stable releases get an update every two months or so; then packages in older lists begin to be missing from the mirrors. */
const freshDays = 30;

/** An image that no sandbox uses is removed if it was not requested for this long. */
const unusedDays = 7;

const dayMs = 24 * 60 * 60 * 1000;

const guestFiles = join(__dirname, "guest");
const prepareScript = join(__dirname, "prepare-image.sh");

/** Where Debian and Ubuntu keep a company's own certificate authorities; an https mirror behind one needs them in the hosts too. */
const ownCertificates = "/usr/local/share/ca-certificates";

function filesBelow(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(dir, entry.name)) : [join(dir, entry.name)]));
}

/** Changes with everything an image is made from, and with nothing else (not with where this working copy is). */
function imageKey(release: Release, include: string[], sources: string[], reach: string[]): string {
  const hash = createHash("sha256").update(JSON.stringify([release, include, sources, reach]));
  for (const file of [...filesBelow(guestFiles), prepareScript, ...filesBelow(ownCertificates)])
    hash.update(file.replace(__dirname, "")).update("\0").update(readFileSync(file)).update("\0");
  return hash.digest("hex").slice(0, 12);
}

/** A finished image. Its folder is named after its key and the time it was built; a file beside it records when it was last requested. */
interface Image {
  dir: string;
  builtMs: number;
  usedMs: number;
}

const marker = (dir: string): string => `${dir}.used`;

function imagesNamed(prefix: string): Image[] {
  if (!existsSync(imagesDir())) return [];
  return readdirSync(imagesDir())
    .filter((name) => name.startsWith(prefix) && /-\d{13}$/.test(name))
    .map((name) => {
      const dir = join(imagesDir(), name);
      return {
        dir,
        builtMs: Number(name.slice(-13)),
        usedMs: existsSync(marker(dir)) ? statSync(marker(dir)).mtimeMs : 0,
      };
    })
    .sort((a, b) => b.builtMs - a.builtMs);
}

function markUsed(image: Image): string {
  writeFileSync(marker(image.dir), "");
  utimesSync(marker(image.dir), new Date(), new Date());
  return image.dir;
}

/**
 * The root directory of a release's image, never written to and shared by all hosts: built on first request, and again
 * after 30 days (20 to 60 s, about 300 MB). Package lists stay in it, so that a host can install packages without an update first.
 * Each set of `more` packages has its own image.
 */
export async function ensureImage(release: Release, log: Log, more: string[] = []): Promise<string> {
  const include = [...packages, ...more];
  const sources = sourcesFor(release, machineSources(), machineCodename());
  const reach = await machineReachSettings();
  const name = `${release}-${imageKey(release, include, sources, reach)}`;
  const fresh = (): Image | undefined =>
    imagesNamed(name).find((image) => Date.now() - image.builtMs < freshDays * dayMs);
  const ready = fresh();
  if (ready) return markUsed(ready);
  const onWait = (): void => {
    log(`Another run is building the Debian ${release} image, waiting for it`);
  };
  return withLock(lockPath(`image-${release}`), onWait, async () => {
    const built = fresh();
    if (built) return markUsed(built);
    const [old] = imagesNamed(name);
    try {
      return await buildImage(name, release, include, sources, reach, log);
    } catch (error) {
      if (!old) throw error;
      log(
        `The image is from ${new Date(old.builtMs).toDateString()} and can't be renewed now: ${(error as Error).message}`,
      );
      return markUsed(old);
    }
  });
}

/** Builds an image under the release's lock. */
async function buildImage(
  name: string,
  release: Release,
  include: string[],
  sources: string[],
  reach: string[],
  log: Log,
): Promise<string> {
  mkdirSync(imagesDir(), { recursive: true, mode: 0o700 });
  await removeUnused(release);
  const builtMs = Date.now();
  const dir = join(imagesDir(), `${name}-${builtMs}`);
  const building = `${dir}.building`;
  log(`Building the Debian ${release} image, once (20 to 60 s, 300 MB in ${imagesDir()})`);
  const ticker = setInterval(() => {
    log(`Still building (${Math.round((Date.now() - builtMs) / 1000)} s)`);
  }, 10_000);
  try {
    // Exits when this process is killed, instead of continuing for no caller.
    await asRoot("setpriv", [
      "--pdeathsig=TERM",
      "mmdebstrap",
      "--mode=root",
      "--format=directory",
      "--variant=minbase",
      "--skip=cleanup/apt/lists",
      `--include=${include.join(",")}`,
      // These stay in the image, so the hosts' apt reaches the mirror in the same way.
      ...reach.map((line) => `--aptopt=${line.replace(/;$/, "")}`),
      release,
      building,
      ...sources,
    ]);
    await asRoot("bash", [prepareScript, building, guestFiles, ownCertificates]);
    await asRoot("mv", ["-T", building, dir]);
  } finally {
    clearInterval(ticker);
  }
  return markUsed({ dir, builtMs, usedMs: builtMs });
}

/** Removes the remains of killed builds, and images that no sandbox needs. The caller holds the release's lock. */
async function removeUnused(release: Release): Promise<void> {
  const names = readdirSync(imagesDir()).filter((name) => name.startsWith(`${release}-`) && name.endsWith(".building"));
  const inUse = new Set(sandboxNames().map((name) => readSandboxState(name)?.image));
  const unused = imagesNamed(`${release}-`)
    .filter((image) => !inUse.has(image.dir) && Date.now() - image.usedMs > unusedDays * dayMs)
    .flatMap((image) => [image.dir, marker(image.dir)]);
  const paths = [...names.map((name) => join(imagesDir(), name)), ...unused];
  // Processes of a build that was just killed may add files for a moment.
  await until("old images are removed", 30_000, async () => {
    if (paths.some(existsSync)) await asRoot("rm", ["-rf", "--one-file-system", ...paths], { allowFailure: true });
    return !paths.some(existsSync);
  });
}
