import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../../toolchain/run";
import { cacheDir } from "../../sandbox/paths";
import { Mirror } from "../../torture/mirror";
import type { Tools } from "../../torture/tools";
import type { Group } from "../many/group";
import type { Way } from "./types";

/** The version of Litestream that takes part: github.com/benbjohnson/litestream. */
const LITESTREAM = "v0.5.18";
/** Seconds between two runs of rsync. */
const CRON = 120;

/** Where a way copies from and to, and the control group in which it runs. */
export interface Field {
  tools: Tools;
  root: string;
  source: string;
  target: string;
  group: Group;
}

/** One way to copy databases. */
export interface Contender {
  start: () => void | Promise<void>;
  /** The number of these databases that have a first copy. */
  copied: (names: string[]) => number;
  /** Ends it at once, at any point. */
  kill: () => void | Promise<void>;
  /** Makes a file that SQLite can open out of the copy of a database, or throws. */
  restore: (name: string, to: string) => Promise<void>;
}

/** Starts a program in the group. */
function inGroup(group: Group, argv: string[]): ChildProcess {
  const [program = "", ...args] = [...group.through, ...argv];
  return spawn(program, args, { stdio: "ignore", detached: true });
}

/** Kills all processes of the group. */
async function killGroup(group: Group): Promise<void> {
  for (let pids = group.pids(); pids.length > 0; pids = group.pids()) {
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
    await sleep(50);
  }
}

const copyOf = (target: string) => async (name: string, to: string) => {
  for (const suffix of ["", "-wal"]) {
    const file = path.join(target, name + suffix);
    if (suffix === "" || existsSync(file)) await run("cp", [file, to + suffix]);
  }
};

const areThere = (target: string) => (names: string[]) =>
  names.filter((name) => existsSync(path.join(target, name))).length;

/** Builds Litestream on first use. Returns its program. */
export async function litestream(say: (line: string) => void): Promise<string> {
  const folder = path.join(cacheDir(), `litestream-${LITESTREAM}`);
  const program = path.join(folder, "litestream");
  if (existsSync(program)) return program;
  say(`building Litestream ${LITESTREAM}`);
  mkdirSync(folder, { recursive: true });
  const module = `github.com/benbjohnson/litestream/cmd/litestream@${LITESTREAM}`;
  await run("go", ["install", module], { env: { ...process.env, GOFLAGS: "-mod=mod", GOBIN: folder } }).catch(
    (error: unknown) => {
      throw new Error(`Litestream is built with Go (https://go.dev/doc/install): ${(error as Error).message}`);
    },
  );
  return program;
}

/** Enters one way. */
export const contenders: Record<Way, (field: Field, say: (line: string) => void) => Promise<Contender>> = {
  "lsyncd-as-code": async ({ tools, root, target, group }) => {
    const mirror = new Mirror({ lsyncd: tools.lsyncd, root, safe: true, through: group.through });
    await mirror.prepare();
    return {
      start: () => {
        mirror.start();
      },
      copied: areThere(target),
      kill: () => {
        mirror.kill();
      },
      restore: copyOf(target),
    };
  },
  cron: ({ source, target, group }) => {
    const rsync = ["rsync", "-a", "--delete", "--exclude=*-wal", "--exclude=*-shm", `${source}/`, `${target}/`];
    return Promise.resolve({
      start: () => {
        inGroup(group, [
          "sh",
          "-c",
          'seconds=$1; shift; while "$@"; do sleep "$seconds"; done',
          "sh",
          String(CRON),
          ...rsync,
        ]);
      },
      copied: areThere(target),
      kill: () => killGroup(group),
      restore: copyOf(target),
    });
  },
  litestream: async ({ root, source, target, group }, say) => {
    const program = await litestream(say);
    const config = path.join(root, "litestream.yml");
    const replica = { type: "file", path: target };
    writeFileSync(
      config,
      JSON.stringify({ dbs: [{ dir: source, pattern: "*.sqlite", recursive: true, watch: true, replica }] }),
    );
    return {
      start: () => {
        inGroup(group, [program, "replicate", "-config", config]);
      },
      copied: (names) => names.filter((name) => existsSync(path.join(target, name, "ltx"))).length,
      kill: () => killGroup(group),
      restore: async (name, to) => {
        await rm(to, { force: true });
        await run(program, ["restore", "-o", to, `file://${path.join(target, name)}`]);
      },
    };
  },
};
