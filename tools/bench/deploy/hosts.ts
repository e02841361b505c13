import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { enter, type SandboxHost } from "../../sandbox";
import { readSshdLog, type SshUse } from "./sshd";

const sh = async (host: SandboxHost, script: string, ...args: string[]): Promise<string> =>
  (await enter(host, ["bash", "-c", script, "bash", ...args])).stdout.trimEnd();

const clean = readFileSync(join(__dirname, "clean.sh"), "utf8");

/** Removes everything that any of the tools has deployed; the packages stay, and the source has a few files. */
export async function cleanHost(host: SandboxHost): Promise<void> {
  await sh(host, clean, host.source, host.target);
}

/** Makes the host's SSH server log connections and sessions. Restarts it: after a reload it refuses connections for a moment. */
export async function watchSshd(host: SandboxHost): Promise<void> {
  await sh(host, `echo LogLevel VERBOSE >/etc/ssh/sshd_config.d/05-bench.conf && systemctl restart ssh`);
}

/** Leaves a mark in the host's journal, to read on from. */
export async function markJournal(host: SandboxHost): Promise<string> {
  const mark = randomUUID();
  await sh(host, 'logger -t bench "$1"', mark);
  return mark;
}

/** The work of the host's SSH server since the mark. */
export async function sshSince(host: SandboxHost, mark: string): Promise<SshUse> {
  const log = (await sh(host, "journalctl --sync; journalctl -t sshd -t bench -o cat")).split("\n");
  if (!log.includes(mark)) throw new Error(`${host.name}: the mark is not in its journal`);
  return readSshdLog(log.slice(log.indexOf(mark) + 1));
}

/** Throws unless lsyncd runs on the host with the given delay; returns its process. */
export async function requireMirror(host: SandboxHost, delay: number): Promise<string> {
  // pgrep would find it by its name in the foreground as well as in the background.
  const script = `grep -Eq "^ *delay *= *$1,?$" /etc/lsyncd/lsyncd.conf.lua || { grep delay /etc/lsyncd/lsyncd.conf.lua; exit 1; }
    systemctl is-enabled --quiet lsyncd lsyncd-monitor.timer && systemctl is-active --quiet lsyncd-monitor.timer || exit 1
    for _ in {1..50}; do pgrep -x lsyncd && exit; sleep 0.1; done; exit 1`;
  const found = await enter(host, ["bash", "-c", script, "bash", String(delay)], { allowFailure: true });
  if (found.code !== 0)
    throw new Error(`${host.name} was not deployed as it should be:\n${found.stdout}${found.stderr}`);
  return found.stdout.trim();
}
