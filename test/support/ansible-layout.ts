import type { SandboxHost } from "../../tools/sandbox";
import { execOn } from "../../tools/sandbox";

/**
 * Puts what the Ansible playbook deployed on a host: Debian's lsyncd started by its init script, with the
 * documentation's configuration, override, monitor and timer. lsyncd runs and mirrors when this returns.
 */
export async function deployAnsibleLayout(
  host: SandboxHost,
  source = host.source,
  target = host.target,
): Promise<void> {
  const files: Record<string, [mode: string, content: string]> = {
    "/etc/lsyncd/lsyncd.conf.lua": [
      "644",
      `settings {
    logfile = "/var/log/lsyncd/lsyncd.log",
    statusFile = "/var/log/lsyncd/lsyncd.status",
    statusInterval = 10,
    nodaemon = false,
}

sync {
    default.rsync,
    source = "${source}/",
    target = "${target}/",
    delay = 1,
    rsync = {
        archive = true,
        compress = false,
        whole_file = true,
        _extra = { "--delete", "--delete-after", "--inplace", "--no-perms", "--omit-dir-times" },
    },
}
`,
    ],
    "/etc/systemd/system/lsyncd.service.d/override.conf": [
      "644",
      "[Unit]\nOnFailure=lsyncd-failure-notify@%n.service\n\n[Service]\nRestart=on-failure\nRestartSec=10\n",
    ],
    "/etc/systemd/system/lsyncd-failure-notify@.service": [
      "644",
      "[Unit]\nDescription=Tell that %i failed (lsyncd)\n\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
    ],
    "/usr/local/bin/lsyncd-monitor.sh": ["755", "#!/bin/bash\nset -euo pipefail\nsystemctl is-active --quiet lsyncd\n"],
    "/etc/systemd/system/lsyncd-monitor.service": [
      "644",
      "[Unit]\nDescription=Lsyncd health monitor\n\n[Service]\nType=oneshot\nExecStart=/usr/local/bin/lsyncd-monitor.sh\n",
    ],
    "/etc/systemd/system/lsyncd-monitor.timer": [
      "644",
      "[Unit]\nDescription=Lsyncd health monitor\n\n[Timer]\nOnBootSec=5min\nOnUnitActiveSec=5min\n\n[Install]\nWantedBy=timers.target\n",
    ],
  };
  const writes = Object.entries(files).map(
    ([path, [mode, content]]) =>
      `mkdir -p '${path.replace(/\/[^/]*$/, "")}' && base64 -d >'${path}' <<'END' && chmod ${mode} '${path}'\n${Buffer.from(content).toString("base64")}\nEND\n`,
  );
  await execOn(host, "bash -s", {
    timeoutMs: 400_000,
    input: `set -e
      DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends lsyncd rsync >/dev/null 2>&1 ||
        { apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends lsyncd rsync >/dev/null; }
      mkdir -p /var/log/lsyncd
      ${writes.join("")}
      systemctl daemon-reload
      systemctl enable --quiet lsyncd lsyncd-monitor.timer 2>/dev/null
      systemctl restart lsyncd lsyncd-monitor.timer
      sleep 2
      pgrep -x lsyncd >/dev/null`,
  });
}
