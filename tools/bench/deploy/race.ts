import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SandboxHost } from "../../sandbox";
import { measured } from "../measured";
import { contenders, type Contestant } from "./contenders";
import { delay as startDelay } from "./delay";
import { cleanHost, markJournal, requireMirror, sshSince } from "./hosts";
import { works, type Sample, type Work } from "./types";

/** One cell of the table: some tools on some hosts at some distance. */
export interface Race {
  tools: string[];
  hosts: SandboxHost[];
  /** Milliseconds of a round trip. */
  rtt: number;
  rounds: number;
  /** The measured works. */
  works: Work[];
  /** A command that each measured command is run through, such as one that waits until the machine is quiet. */
  through: string[];
  say: (line: string) => void;
}

// Next to the host's own port, on an address that no other has.
const delayedPort = (port: number): number => port + 10_000;

/** Lets the tools deploy in turn, `rounds` times, beginning with another tool in each round. Throws when one does not deploy. */
export async function race({ tools, hosts, rtt, rounds, works: wanted, through, say }: Race): Promise<Sample[]> {
  const directory = await mkdtemp(join(tmpdir(), "lsyncd-as-code-bench-"));
  const routes = hosts.map(({ address, port }) => ({
    listen: { address, port: delayedPort(port) },
    to: { address, port },
  }));
  const stop = rtt > 0 ? await startDelay(routes, rtt) : () => undefined;
  try {
    const seen = rtt > 0 ? hosts.map((host) => ({ ...host, port: delayedPort(host.port) })) : hosts;
    const knownHostsPath = join(directory, "known_hosts");
    await writeFile(
      knownHostsPath,
      seen.map(({ address, port, hostKey }) => `[${address}]:${port} ${hostKey}\n`).join(""),
    );
    const contestants = new Map<string, Contestant>();
    for (const tool of tools) {
      const own = await mkdtemp(join(directory, `${tool}-`));
      const entered = await contenders[tool]?.enter({ hosts: seen, knownHostsPath, directory: own, say });
      if (entered) contestants.set(tool, entered);
    }
    const samples: Sample[] = [];
    for (let number = 0; number < rounds; number += 1) {
      const round = new Date().toISOString();
      const order = tools.map((_, index) => tools[(index + number) % tools.length] ?? "");
      for (const tool of order) {
        const contestant = contestants.get(tool);
        if (!contestant) continue;
        const turn = await takeTurn({ contestant, hosts, wanted, through });
        samples.push(...turn.map((sample) => ({ round, tool, hosts: hosts.length, rtt, ...sample })));
        const seconds = turn.map((sample) => `${sample.work} ${sample.seconds.toFixed(1)} s`).join(", ");
        say(`${hosts.length} hosts, ${rtt} ms, round ${number + 1}: ${tool}: ${seconds}`);
      }
    }
    return samples;
  } finally {
    stop();
    await rm(directory, { recursive: true, force: true });
  }
}

interface Turn {
  contestant: Contestant;
  hosts: SandboxHost[];
  wanted: Work[];
  through: string[];
}

/** The wanted works of one tool, on clean hosts: after a first deployment, wanted or not. */
async function takeTurn({ contestant, hosts, wanted, through }: Turn) {
  await Promise.all(hosts.map(cleanHost));
  await contestant.forget?.();
  const turn: Omit<Sample, "round" | "tool" | "hosts" | "rtt">[] = [];
  let before: string[] = [];
  for (const work of works.filter((one) => one === "first" || wanted.includes(one))) {
    const delay = work === "change" ? 2 : 1;
    const command = await contestant.prepare(work, delay);
    const marks = await Promise.all(hosts.map(markJournal));
    const { seconds, cpu, memory } = await measured(command, through);
    const after = await Promise.all(hosts.map((host) => requireMirror(host, delay)));
    requireRestarts(work, before, after);
    before = after;
    if (!wanted.includes(work)) continue;
    const uses = await Promise.all(hosts.map((host, index) => sshSince(host, marks[index] ?? "")));
    const most = (key: "connections" | "sessions" | "atOnce"): number => Math.max(...uses.map((use) => use[key]));
    turn.push({
      ...{ work, seconds: round(seconds, 3), cpu: round(cpu, 3), memory },
      ...{ connections: most("connections"), sessions: most("sessions"), atOnce: most("atOnce") },
    });
  }
  return turn;
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

/** A run that changes nothing restarts nothing, and one that changes lsyncd's configuration restarts lsyncd. */
function requireRestarts(work: Work, before: string[], after: string[]): void {
  if (work === "first") return;
  const same = after.filter((process, index) => process === before[index]).length;
  if (same !== (work === "nothing" ? after.length : 0))
    throw new Error(`the run with work "${work}" left lsyncd running on ${same} of ${after.length} hosts`);
}
