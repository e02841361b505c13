import type { SandboxHost } from "./types";
import { disksAtBoot } from "./volumes";

/** The arguments of systemd-nspawn for a host. */
export function nspawnArguments(host: SandboxHost): string[] {
  return [
    "--quiet",
    "--boot",
    `--directory=${host.root}`,
    `--machine=${host.machine}`,
    `--hostname=${host.name}`,
    // Neither needs a running systemd on this machine; the control group is ours.
    "--register=no",
    "--keep-unit",
    // The host and this machine share only the network and its resolver.
    "--link-journal=no",
    "--timezone=off",
    "--resolv-conf=replace-host",
    // A process may restrict itself, as on a machine (Landlock).
    "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ...disksAtBoot(host).map((disk) => `--bind=${disk.device}`),
  ];
}
