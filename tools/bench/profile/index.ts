import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { execOn, type SandboxHost, sshArgs } from "../../sandbox";
import { Stack } from "../../stack";
import { ensureToolchain } from "../../../toolchain";
import { run } from "../../../toolchain/run";
import { type Command, measured } from "../measured";
import { say, throughWords } from "../options";
import { conditions, writeResults } from "../results";
import { inSandbox } from "../sandbox";
import type { EngineShares, ProfileResults } from "./section";

const usage = `Measures the parts of a run that changes nothing, each alone.

  npm run bench -- profile [--runs 3] [--through COMMAND]`;

// As infra/main.cjs does, which runs the program as well.
const loadTsx = 'require("./infra/typescript.cjs").readTypescript()';
const loadProgram = `${loadTsx}; require("./infra/program.ts")`;

/** Numbers of hosts for which CPU time is listed by program: the fixed cost, and the cost of each host. */
const counts = [1, 8];

/** Which program a command line is of. */
function programOf(commandLine: string): string {
  if (commandLine.includes("pulumi-language-")) return "language host (Go)";
  if (commandLine.includes("resource-command")) return "command plugin";
  if (commandLine.includes("/cmd/run")) return "this program and Pulumi's SDK (Node)";
  if (/^\S*\bpulumi /.test(commandLine)) return "Pulumi's engine (Go)";
  return "npm and the script that starts the engine";
}

/** CPU seconds by program. */
function byProgram(programs: [commandLine: string, cpu: number][]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [line, cpu] of programs) sums.set(programOf(line), (sums.get(programOf(line)) ?? 0) + cpu);
  return sums;
}

/** The engine's overhead, by function. */
const engineWork = {
  log: /\s([\d.]+)%\s+\S*logging\.VerboseLogger\.Infof(?: .*)?$/m,
  state: /\s([\d.]+)%\s+\S*backend\.\(\*SnapshotManager\)\.saveSnapshot(?: .*)?$/m,
};

/** The shares (0 to 1) of the engine's CPU time that these take; undefined if Go is not installed. */
async function engineShares({ argv, env }: Command): Promise<EngineShares | undefined> {
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-bench-"));
  try {
    await measured({ argv: [...argv, "--profiling", join(directory, "up")], env });
    const profile = (await readdir(directory)).find((name) => name.endsWith(".cpu"));
    if (profile === undefined) return undefined;
    const pprof = ["tool", "pprof", "-top", "-cum", "-nodecount=1000", argv[0] ?? "", join(directory, profile)];
    const { code, stdout } = await run("go", pprof, { allowFailure: true });
    if (code !== 0) return undefined;
    const share = (line: RegExp): number => Number(line.exec(stdout)?.[1] ?? 0) / 100;
    return { log: share(engineWork.log), state: share(engineWork.state) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** CPU seconds that all processes of a host have used since it booted, in ticks of a hundredth (proc(5)). */
async function cpuOf(host: SandboxHost): Promise<number> {
  const sum = `cat /proc/[0-9]*/stat 2>/dev/null | awk '{ sub(/^.*\\) /, ""); s += $12 + $13 + $14 + $15 } END { print s / 100 }'`;
  return Number((await execOn(host, sum)).stdout);
}

/** CPU seconds of lsyncd's service since its start. */
async function serviceCpuOf(host: SandboxHost): Promise<number> {
  return Number((await execOn(host, "systemctl show -p CPUUsageNSec --value lsyncd")).stdout) / 1e9;
}

/** Measures the parts of a run, and stores the results. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: "string", default: "3" },
      through: { type: "string", default: "" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const { engine } = await ensureToolchain({ say });
  await inSandbox({ hosts: Math.max(...counts), volumeSizeMb: 64 }, async ({ hosts, directory }) => {
    const [host] = hosts;
    const stack = await new Stack({ name: "bench", directory }).init();
    const configure = async (count: number, delay: number): Promise<void> =>
      stack.configure(hosts.slice(0, count), { alertRecipients: "root@localhost.localdomain", delay });
    const deploy = async (count: number): Promise<void> => {
      await configure(count, 1);
      const { code, stdout, stderr } = await stack.up();
      if (code !== 0) throw new Error(`${stdout}\n${stderr}`);
    };
    await deploy(1);

    const env = { ...stack.environment(), PATH: `${engine.folder}:${process.env.PATH ?? ""}` };
    const node = process.execPath;
    const up = ["--stack", "bench", "--config-file", stack.configFile, "--yes", "--skip-preview", "--non-interactive"];
    const steps: [title: string, argv: string[]][] = [
      ["Node starts", [node, "-e", ""]],
      ["Node starts and loads tsx", [node, "-e", loadTsx]],
      ["npm starts a script", ["npm", "run", "env"]],
      ["the engine starts", [engine.path, "version"]],
      ["Node loads Pulumi's SDK, all of it", [node, "-e", 'require("@pulumi/pulumi")']],
      ["Node loads the program and what it uses of the SDK", [node, "-e", loadProgram]],
      ["one SSH connection, one command", [...sshArgs(host), "true"]],
      ["`pulumi up`, the engine with its log", [engine.path, "up", ...up]],
      ["`npm run up`, all of it", ["npm", "run", "up", "--", ...up]],
    ];
    const found: ProfileResults["steps"] = steps.map(([title]) => ({ title, seconds: [], cpu: [] }));
    for (let run = 0; run < Number(values.runs); run += 1) {
      for (const [index, [title, argv]] of steps.entries()) {
        const { seconds, cpu } = await measured({ argv, env }, throughWords(values.through));
        found[index]?.seconds.push(Number(seconds.toFixed(3)));
        found[index]?.cpu.push(Number(cpu.toFixed(3)));
        say(`${title}: ${seconds.toFixed(2)} s`);
      }
    }
    const programs: ProfileResults["programs"] = [];
    const engineUse: ProfileResults["engineUse"] = [];
    for (const count of counts) {
      await deploy(count);
      const cpu: Record<string, number[]> = {};
      for (let run = 0; run < Number(values.runs); run += 1) {
        const all = await measured({ argv: ["npm", "run", "up", "--", ...up], env }, throughWords(values.through));
        for (const [title, used] of byProgram(all.programs)) (cpu[title] ??= []).push(Number(used.toFixed(3)));
      }
      programs.push({ hosts: count, cpu, state: Buffer.byteLength(await stack.state()) });
      const nothing = await engineShares({ argv: [engine.path, "up", ...up], env });
      await configure(count, 2);
      const change = await engineShares({ argv: [engine.path, "up", ...up], env });
      if (nothing && change) engineUse.push({ hosts: count, nothing, change });
      say(`${count} hosts: ${JSON.stringify({ cpu, nothing, change })}`);
    }
    await deploy(1);
    const onHost: NonNullable<ProfileResults["onHost"]> = { all: [], service: [] };
    for (let run = 0; run < Number(values.runs); run += 1) {
      await configure(1, 2 + (run % 2));
      // The measurement logs in as well.
      const login = await cpuOf(host);
      const before = await cpuOf(host);
      const { code, stdout, stderr } = await stack.up();
      if (code !== 0) throw new Error(`${stdout}\n${stderr}`);
      onHost.service.push(Number((await serviceCpuOf(host)).toFixed(3)));
      onHost.all.push(Number(((await cpuOf(host)) - before - 2 * (before - login)).toFixed(2)));
      say(`one setting changed, CPU seconds on the host: ${onHost.all.at(-1)}`);
    }
    await writeResults("profile", {
      ...{ conditions: await conditions(), steps: found, programs, engineUse, onHost },
    } satisfies ProfileResults);
  });
  return 0;
}
