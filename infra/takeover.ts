import type { remote } from "@pulumi/command";
import { Command } from "./command";
import * as pulumi from "./pulumi";

/**
 * Until version 0.1 each managed file was a resource of its own, called `HOST-file-NAME`; `delete` of it removed a staged copy.
 * The names by path.
 */
const names: Record<string, string> = {
  "/usr/local/lib/lsyncd-as-code/lsyncd-guard": "guard",
  "/usr/local/lib/lsyncd-as-code/lsyncd-undo": "undo",
  "/usr/local/lib/lsyncd-as-code/lsyncd-watches": "watches",
  "/usr/local/lib/lsyncd-as-code/lsyncd-run": "run",
  "/usr/local/lib/lsyncd-as-code/lsyncd-mirror": "mirror",
  "/usr/local/lib/lsyncd-as-code/sqlite.pm": "sqlite-library",
  "/usr/local/lib/lsyncd-as-code/lsyncd-rsync": "sqlite",
  "/usr/local/lib/lsyncd-as-code/lsyncd-verify": "verify",
  "/usr/local/sbin/lsyncd-verify": "verify-command",
  "/usr/local/sbin/lsyncd-release": "release",
  "/usr/local/sbin/lsyncd-failover": "failover",
  "/usr/local/lib/lsyncd-as-code/alert-common.sh": "alert-common",
  "/usr/local/lib/lsyncd-as-code/alert-message": "alert-message",
  "/usr/local/lib/lsyncd-as-code/lsyncd-alert": "alert",
  "/etc/lsyncd/alerts.conf": "alert-settings",
  "/root/.msmtprc-lsyncd": "msmtp",
  "/etc/logrotate.d/lsyncd-as-code": "logrotate",
  "/usr/local/bin/lsyncd-monitor.sh": "monitor",
  "/etc/systemd/system/lsyncd-undo.service": "undo-service",
  "/etc/systemd/system/lsyncd-monitor.service": "monitor-service",
  "/etc/systemd/system/lsyncd-monitor.timer": "monitor-timer",
  "/etc/systemd/system/lsyncd-verify.service": "verify-service",
  "/etc/systemd/system/lsyncd-verify.timer": "verify-timer",
  "/etc/lsyncd/lsyncd.conf.lua": "config",
  "/etc/systemd/system/lsyncd.service.d/override.conf": "override",
};

/**
 * Registers the files of such a deployment as they are in the state, and marks them to be retained: the next run drops them from
 * the state without running their `delete`. `paths` are those that the host was deployed with.
 */
export function stagedBefore(
  host: string,
  paths: string[],
  connection: remote.CommandArgs["connection"],
  parent: pulumi.Resource,
): void {
  for (const name of paths.flatMap((path) => names[path] ?? [])) {
    // Where the state does not have it after all, this does nothing there.
    const nothing = { connection, create: "true", addPreviousOutputInEnv: false };
    new Command(`${host}-file-${name}`, nothing, { parent, ignoreChanges: ["*"], retainOnDelete: true });
  }
}
