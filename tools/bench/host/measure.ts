import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readSettings } from "../../../infra/config";
import { look } from "../../../infra/commands";
import { enter, execOn, until, type SandboxHost } from "../../sandbox";
import type { Stack } from "../../stack";
import { cleanHost } from "../deploy/hosts";
import type { ByDirectories, BySize, HostResults, Runs } from "./types";

/** The host and tools of a measurement. */
export interface Place {
  host: SandboxHost;
  /** Creates a stack without any deployment. */
  newStack: () => Promise<Stack>;
  say: (line: string) => void;
}

// Filling a volume, and a first pass over it, may take minutes on a busy machine.
const timeoutMs = 900_000;

const sh = async (host: SandboxHost, script: string, ...args: string[]): Promise<string> =>
  (await enter(host, ["bash", "-c", script, "bash", ...args])).stdout.trimEnd();

/** Puts one of this folder's programs on the host. */
async function send(host: SandboxHost, name: string): Promise<string> {
  const path = `/root/${name}`;
  await execOn(host, `cat >${path}`, { input: readFileSync(join(__dirname, name), "utf8") });
  return path;
}

const fill = async (host: SandboxHost, what: "files" | "directories", count: number): Promise<void> => {
  const program = await send(host, "fill.pl");
  await sh(host, 'perl "$1" "$2" "$3" "$4" && sync', program, host.source, what, String(count));
};

/** Runs a shell command on the host so many times; output and exit code do not matter. */
async function timed(host: SandboxHost, times: number, command: string): Promise<Runs> {
  const runs: Runs = { seconds: [], cpu: [] };
  for (let number = 0; number < times; number += 1) {
    const script = `TIMEFORMAT='%3R %3U %3S'; exec 3>&2; time { ${command} >/dev/null 2>&1 3>&-; }`;
    const { stderr } = await enter(host, ["bash", "-c", script], { allowFailure: true });
    const [seconds = NaN, user = NaN, system = NaN] = stderr.trim().split(" ").map(Number);
    runs.seconds.push(seconds);
    runs.cpu.push(Number((user + system).toFixed(3)));
  }
  return runs;
}

/** The preflight of a host as a file there, and the command that runs it. */
async function sendPreflight(host: SandboxHost): Promise<string> {
  const entry = { name: host.name, address: host.address };
  const { hosts } = readSettings({ stack: { "lsyncd:hosts": JSON.stringify([entry]) }, env: {} });
  const [settings] = hosts;
  if (!settings) throw new Error("no settings");
  const { create, stdin } = look({ stack: "organization/lsyncd/bench", host: settings }, []);
  await execOn(host, "cat >/root/preflight", { input: stdin });
  return `${create} </root/preflight`;
}

async function deploy({ newStack }: Place): Promise<void> {
  const { code, stdout, stderr } = await (await newStack()).up();
  if (code !== 0) throw new Error(`${stdout}\n${stderr}`);
}

/** Seconds of the newest first pass, by the log of lsyncd; waits for its end. */
async function firstPass(host: SandboxHost): Promise<number> {
  let seconds = "";
  const script = `log=/var/log/lsyncd/lsyncd.log
    end=$(grep "Startup of .* finished" $log | tail -n 1); [ -n "$end" ] || exit 0
    begin=$(grep "recursive startup rsync" $log | tail -n 1); [ -n "$begin" ] || exit 0
    at() { date -d "$(cut -c 1-24 <<<"$1")" +%s; }
    echo $(($(at "$end") - $(at "$begin")))`;
  await until("lsyncd has made its first pass", timeoutMs, async () => {
    seconds = await sh(host, script);
    return seconds !== "" && Number(seconds) >= 0;
  });
  return Number(seconds);
}

/** Bytes of lsyncd's memory: now (VmRSS), or at most so far (VmHWM). */
async function memoryOf(host: SandboxHost, key: "VmRSS" | "VmHWM"): Promise<number> {
  return (
    Number(await sh(host, `sed -n 's/^${key}:[[:space:]]*\\([0-9]*\\) kB/\\1/p' /proc/$(pgrep -xo lsyncd)/status`)) *
    1024
  );
}

/** A host without this program, and with an empty source: earlier files would still be on their way to the mirror. */
async function emptyHost(host: SandboxHost): Promise<void> {
  await cleanHost(host);
  await sh(
    host,
    'find "$1" -mindepth 1 -not -path "$1/lost+found*" -not -path "$1/.lsyncd-as-code*" -delete',
    host.source,
  );
}

/** The cost of the monitor and the preflight with so many files on the volume. */
export async function bySize(place: Place, files: number, runs: number): Promise<BySize> {
  const { host, say } = place;
  await emptyHost(host);
  say(`${files} files`);
  await fill(host, "files", files);
  const preflight = await sendPreflight(host);
  const preflightEmpty = await timed(host, runs, preflight);
  const began = Date.now();
  await deploy(place);
  await until("the mirror is complete", timeoutMs, async () => {
    const found = await sh(
      host,
      'find "$1" -type f -not -path "*/lost+found*" -not -path "*/.lsyncd-as-code/*" | wc -l',
      host.target,
    );
    return Number(found) >= files;
  });
  say(`  deployed and mirrored after ${Math.round((Date.now() - began) / 1000)} s`);
  const pass = await firstPass(host);
  const monitor = await timed(host, runs, "/usr/local/bin/lsyncd-monitor.sh");
  return { files, firstPass: pass, monitor, preflightEmpty, preflightMirror: await timed(host, runs, preflight) };
}

/** From fsync in the source to the file in the mirror. */
export async function latency(
  place: Place,
  count: number,
): Promise<Omit<NonNullable<HostResults["latency"]>, "conditions">> {
  const { host, say } = place;
  await emptyHost(host);
  await deploy(place);
  const program = await send(host, "latency.pl");
  const ask = async (many: number, pause: number, oneByOne: boolean): Promise<number[]> =>
    (await sh(host, `perl "$@"`, program, host.source, host.target, String(many), String(pause), oneByOne ? "1" : "0"))
      .split("\n")
      .map(Number);
  const busyRate = 5;
  say(`${count} files, one by one`);
  const idle = await ask(count, 0.5, true);
  say(`${5 * count} files, ${busyRate} a second`);
  return { idle, busy: await ask(5 * count, 1 / busyRate, false), busyRate };
}

/** Start-up and memory with so many directories, and nothing to copy. */
export async function byDirectories(place: Place, directories: number, runs: number): Promise<ByDirectories> {
  const { host, say } = place;
  say(`${directories} directories`);
  await emptyHost(host);
  await deploy(place);
  await sh(host, "systemctl stop lsyncd");
  await fill(host, "directories", directories);
  await sh(host, 'rsync -a --exclude /lost+found "$1/" "$2/"', host.source, host.target);
  const start = [];
  for (let number = 0; number < runs; number += 1) {
    await sh(host, "systemctl stop lsyncd; : >/var/log/lsyncd/lsyncd.log");
    const script = `began=$(date +%s%N); systemctl start lsyncd
      until grep -q "Startup of .* finished" /var/log/lsyncd/lsyncd.log; do sleep 0.01; done
      echo $((($(date +%s%N) - began) / 1000000))`;
    start.push(Number(await sh(host, script)) / 1000);
  }
  return { directories, start, memory: await memoryOf(host, "VmRSS") };
}

/** Bytes of the objects that the kernel keeps for one watched directory of ext4, as its slab allocator counts them. */
export async function kernelPerWatch(host: SandboxHost): Promise<Record<string, number>> {
  const wanted = ["inotify_inode_mark", "ext4_inode_cache", "dentry"];
  const lines = (await sh(host, "cat /proc/slabinfo")).split("\n").map((line) => line.split(/ +/));
  return Object.fromEntries(
    wanted.flatMap((name) => {
      const size = lines.find(([found]) => found === name)?.[3];
      return size === undefined ? [] : [[name, Number(size)]];
    }),
  );
}

/** Changes so many files as quickly as they can be written, and watches lsyncd until all is mirrored. */
export async function burst(
  place: Place,
  files: number,
): Promise<Omit<NonNullable<HostResults["burst"]>, "conditions">> {
  const { host, say } = place;
  say(`${files} files at once`);
  await emptyHost(host);
  await deploy(place);
  const before = await memoryOf(host, "VmRSS");
  const began = Date.now();
  await fill(host, "files", files);
  await until("the mirror is complete", timeoutMs, async () => {
    const found = await sh(
      host,
      'find "$1" -type f -not -path "*/lost+found*" -not -path "*/.lsyncd-as-code/*" | wc -l',
      host.target,
    );
    return Number(found) >= files;
  });
  return { files, before, most: await memoryOf(host, "VmHWM"), seconds: (Date.now() - began) / 1000 };
}
