import { appendFile } from "node:fs/promises";
import { basename } from "node:path";
import { type Fault, resultsVariable } from "../../tools/reliability/page";
import { execOn, type Reachable, type SandboxHost } from "../../tools/sandbox";
import { content, eventually, mirrored, on } from "./deployment";

/** The checksums of a volume's files, by path. */
export async function files(host: SandboxHost, path: string): Promise<Map<string, string>> {
  const lines = (await content(host, path)).split("\n").filter((line) => line !== "");
  return new Map(lines.map((line) => [line.slice(66), line.slice(0, 64)]));
}

/** The number of files of `expected` that are missing from `there` or differ. */
export function missingFrom(there: Map<string, string>, expected: Map<string, string>): number {
  return [...expected].filter(([path, hash]) => there.get(path) !== hash).length;
}

/**
 * Waits until source and target hold the same files with the same content, and returns how long that took, in seconds. When lsyncd-wait
 * reports that all is mirrored, they must be the same at once; a host of an earlier version has none, and a held mirror may be the same too.
 */
export async function identical(host: SandboxHost, seconds = 60): Promise<number> {
  const began = Date.now();
  if (
    await mirrored(host, seconds).then(
      () => true,
      () => false,
    )
  ) {
    expect(await content(host, host.target)).toBe(await content(host, host.source));
    return Math.round((Date.now() - began) / 100) / 10;
  }
  await eventually(
    async () => (await content(host, host.source)) === (await content(host, host.target)),
    seconds,
    async () =>
      `They differ:\n${(await on(host, `diff -rq ${host.source} ${host.target} | head -n 20; systemctl status lsyncd --no-pager -n 20`, { allowFailure: true })).slice(0, 4000)}`,
  );
  return Math.round((Date.now() - began) / 100) / 10;
}

/** The processes named lsyncd and rsync on a host, one a line. */
export const processes = (host: SandboxHost): Promise<string> => on(host, "pgrep -a -x 'lsyncd|rsync' || true");

/** Waits until neither lsyncd nor rsync runs. Returns the seconds that took. */
export async function stopped(host: SandboxHost, seconds = 15): Promise<number> {
  const began = Date.now();
  await eventually(
    async () => (await processes(host)) === "",
    seconds,
    () => processes(host),
  );
  return Math.round((Date.now() - began) / 100) / 10;
}

/** Waits until lsyncd runs and mirrors a new file. Returns the seconds that took. */
export async function mirrors(host: SandboxHost, seconds = 60): Promise<number> {
  const began = Date.now();
  const token = `alive-${String(Math.random()).slice(2)}`;
  await on(host, `echo ${token} >${host.source}/alive`);
  // lsyncd-wait cannot wait for it while another file cannot be mirrored, or a volume is not back. A host of an earlier version has none.
  const arrived = `lsyncd-wait --timeout 5 ${host.source}/alive || [ "$(cat ${host.target}/alive)" = ${token} ]`;
  await eventually(
    async () => (await attempt(host, arrived)).code === 0,
    seconds,
    async () => on(host, "systemctl status lsyncd --no-pager -n 30", { allowFailure: true }),
  );
  expect(await on(host, `cat ${host.target}/alive`)).toBe(token);
  return Math.round((Date.now() - began) / 100) / 10;
}

/** The content of a mount point whose volume is not mounted; it must be empty. */
export const under = (host: SandboxHost, role: "source" | "target"): Promise<string> =>
  on(host, `mountpoint -q ${host[role]} && echo mounted; find ${host[role]} -mindepth 1`);

/** Fills the source with files in directories, some of them large, all different. */
export async function fill(host: SandboxHost, count = 200): Promise<void> {
  await on(
    host,
    `cd ${host.source} && mkdir -p mail/a mail/b logs && for i in $(seq ${count}); do echo "content $i" >mail/$( ((i % 2)) && echo a || echo b)/$i.eml; done
     head -c 3000000 /dev/urandom >mail/large.sqlite`,
  );
}

/** Shell text that mounts a full file system over a directory of a host, with the same files on it. */
export function full(place: string): string {
  return `cp -a ${place} /srv/kept && mount -t tmpfs -o mode=755,size=1M tmpfs ${place} && cp -a /srv/kept/. ${place}/ && rm -r /srv/kept
    cat /dev/zero >${place}/filler 2>/dev/null || true`;
}

/** Adds a row to the table of faults when the table is being made. */
export async function row(fault: Fault): Promise<void> {
  expect(fault.lost).toBe(0);
  const file = process.env[resultsVariable];
  const { testPath, currentTestName } = expect.getState();
  if (file)
    await appendFile(
      file,
      `${JSON.stringify({ file: basename(testPath ?? ""), test: currentTestName ?? "", ...fault })}\n`,
    );
}

/** Runs a command that may fail and returns all its output. */
export async function attempt(
  host: Reachable,
  command: string,
): Promise<{ code: number; output: string; seconds: number }> {
  const began = Date.now();
  const { code, stdout, stderr } = await execOn(host, command, { allowFailure: true });
  return { code, output: stdout + stderr, seconds: (Date.now() - began) / 1000 };
}
