import { readSettings } from "../../infra/config";
import { renderFiles } from "../../infra/files";
import { stateDirectory } from "../../infra/paths";
import { execOn, quote, type SandboxHost } from "../../tools/sandbox";
import { mirrored } from "./deployment";

/** The output of one run of the monitor. */
export interface MonitorRun {
  code: number;
  /** Its output, and the lines by check: `lines.disk` is `ok the target is …`. */
  output: string;
  lines: Record<string, string>;
  seconds: number;
}

const fragment = `volume_identity() {
  local device
  device=$(findmnt --noheadings --nofsroot --output SOURCE --mountpoint "$1") || return 1
  uuid=$(blkid --probe --match-tag UUID --output value -- "$device" 2>/dev/null)
  if [ -n "$uuid" ]; then echo "UUID=$uuid"; else echo "$(findmnt -no FSTYPE --mountpoint "$1"):$device"; fi
}`;

/** A deployed host, for tests of its monitor and its alerts. */
export class AlertHost {
  constructor(readonly host: SandboxHost) {}

  /** Runs a shell script on the host and returns what it printed. */
  async sh(script: string, options: { allowFailure?: boolean; timeoutMs?: number } = {}): Promise<string> {
    const { stdout } = await execOn(this.host, "bash -s", { input: script, ...options });
    return stdout.trim();
  }

  /** Installs what only the tests need, and sets the timer to a month, so that only the tests start a run. */
  async prepare(): Promise<void> {
    await this.sh(
      `export DEBIAN_FRONTEND=noninteractive
      apt-get install -q -y --no-install-recommends bindfs >/tmp/apt.log 2>&1 ||
        { tail -n 20 /tmp/apt.log >&2; exit 1; }
      mkdir -p /etc/systemd/system/lsyncd-monitor.timer.d
      printf '[Timer]\\nOnBootSec=\\nOnActiveSec=30d\\n' >/etc/systemd/system/lsyncd-monitor.timer.d/test.conf
      systemctl daemon-reload; systemctl restart lsyncd-monitor.timer; systemctl stop lsyncd-monitor.service
      [ -e /dev/fuse ] || mknod /dev/fuse c 10 229`,
      { timeoutMs: 500_000 },
    );
  }

  /** Installs the managed files with these settings, forgets all alerts, and (re)starts lsyncd. */
  async install(settings: Record<string, unknown>): Promise<void> {
    const { name, address, port, hostKey } = this.host;
    const stack = { ...settings, hosts: [{ name, address, port, hostKey }] };
    const values = Object.entries(stack).map(([key, value]) => [
      `lsyncd:${key}`,
      typeof value === "string" ? value : JSON.stringify(value),
    ]);
    const { hosts } = readSettings({ stack: Object.fromEntries(values) as Record<string, string>, env: {} });
    const [mirror] = hosts;
    if (mirror === undefined) throw new Error("no host");
    const files = renderFiles(mirror).map(
      ({ path, mode, content }) =>
        `mkdir -p ${quote(path.replace(/\/[^/]*$/, ""))}; base64 -d >${quote(path)} <<'END'; chmod ${mode} ${quote(path)}\n` +
        `${Buffer.from(content).toString("base64")}\nEND\n`,
    );
    await this.sh(`set -e\n${files.join("")}
      cd ${stateDirectory}; rm -f held allow-deletion entries failover
      systemctl daemon-reload
      ${this.noteVolumes()}
      systemctl restart lsyncd`);
    await this.forget();
    await this.synced();
  }

  /** The command that records the currently mounted volumes as the deployed ones. */
  noteVolumes(): string {
    const { source, target } = this.host;
    return `${fragment}
      mkdir -p ${stateDirectory}
      printf 'source\\t%s\\ntarget\\t%s\\n' "$(volume_identity ${source})" "$(volume_identity ${target})" >${stateDirectory}/volumes`;
  }

  /** Forgets all alerts and read positions. */
  async forget(): Promise<void> {
    await this.sh(`systemctl stop lsyncd-monitor.service
      journalctl --rotate --vacuum-time=1s -q
      : >/var/log/lsyncd/lsyncd.log
      rm -rf ${stateDirectory}/alerts /run/lsyncd-as-code/alerts`);
  }

  /** Waits until lsyncd runs and mirrors. */
  async synced(): Promise<void> {
    await this.sh(`date +%N >${this.host.source}/synced`);
    await mirrored(this.host);
  }

  /** Runs the monitor; `now` (seconds since 1970) sets its clock. */
  async monitor(now?: number, args = ""): Promise<MonitorRun> {
    const clock = now === undefined ? "" : `LSYNCD_MONITOR_NOW=${now} `;
    const started = Date.now();
    const { code, stdout, stderr } = await execOn(this.host, `${clock}/usr/local/bin/lsyncd-monitor.sh ${args}`, {
      allowFailure: true,
    });
    const lines = stdout
      .split("\n")
      .map((line) => /^(\S+) +(\S+) +(.*)$/.exec(line))
      .flatMap((match) => (match ? [[match[2] ?? "", `${match[1]} ${match[3]}`] as const] : []));
    return { code, output: stdout + stderr, lines: Object.fromEntries(lines), seconds: (Date.now() - started) / 1000 };
  }
}
