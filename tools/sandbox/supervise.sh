#!/bin/bash
# Runs one sandbox host until it is switched off, and again each time it reboots. Runs as root, detached from its caller.
# Arguments: the host's folder, which holds nspawn.args (one argument a line, read anew at each boot), and its control group.
set -u

# A function, so that all of it is read before any of it runs: this file may be replaced while a host is up.
main() {
  local dir=$1 group=$2 boot=0 status name controllers=() arguments=()
  exec </dev/null >>"$dir/console.log" 2>&1
  cd / || exit

  # On cgroup v2 only leaves may hold processes once controllers are enabled: one for this shell, one for each boot.
  mkdir -p "$group/watch" && echo $$ >"$group/watch/cgroup.procs" || exit
  if [ -e "$group/cgroup.controllers" ]; then
    # Enough for systemd in the host, as on a Debian machine, even where this machine has v1 as well
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
    # Not every machine hands controllers out; without them the host's memory use is not counted, no more.
    read -ra controllers <"${group%/*}/cgroup.controllers"
    for name in "${controllers[@]}"; do
      { echo "+$name" >"${group%/*}/cgroup.subtree_control" && echo "+$name" >"$group/cgroup.subtree_control"; } 2>/dev/null
    done
  fi
  # /tmp is on the disk, as on a Debian 12 machine.
  export SYSTEMD_NSPAWN_TMPFS_TMP=0
  # A sandbox has a lock of its own; those of systemd-nspawn would stay in /run after a kill.
  export SYSTEMD_NSPAWN_LOCK=0

  while :; do
    boot=$((boot + 1))
    mapfile -t arguments <"$dir/nspawn.args"
    (
      mkdir -p "$group/boot-$boot" && echo "$BASHPID" >"$group/boot-$boot/cgroup.procs" || exit
      exec systemd-nspawn "${arguments[@]}"
    )
    status=$?
    find "$group/boot-$boot" -depth -type d -exec rmdir {} \; 2>/dev/null
    # The exit status of systemd-nspawn --keep-unit when the host reboots (EXIT_FORCE_RESTART)
    [ "$status" -eq 133 ] || exit "$status"
  done
}

main "$@"
exit
