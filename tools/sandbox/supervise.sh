#!/bin/bash
# Runs one sandbox host until it is switched off, and again each time it reboots. Runs as root, detached from who started it.
# Arguments: the host's folder, which holds nspawn.args (one argument a line, read anew at each boot), then its control groups.
set -u
dir=$1
shift
exec </dev/null >>"$dir/console.log" 2>&1
cd / || exit

# A group below each of the host's own: only leaves may hold processes once controllers are enabled.
for group in "$@"; do
  mkdir -p "$group/watch" && echo $$ >"$group/watch/cgroup.procs" || exit
  # Not every machine hands controllers out; without them the host's memory use is not counted, no more.
  controllers=()
  if [ -e "$group/cgroup.controllers" ]; then read -ra controllers <"$group/../cgroup.controllers"; fi
  for name in "${controllers[@]}"; do
    { echo "+$name" >"$group/../cgroup.subtree_control" && echo "+$name" >"$group/cgroup.subtree_control"; } 2>/dev/null
  done
done
echo $$ >"$dir/supervisor.pid"

# A cgroup v2 file system is enough for systemd in the host, as on a Debian machine, even where this machine has v1 as well.
for group in "$@"; do
  if [ -e "$group/cgroup.controllers" ]; then export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1; fi
done
# /tmp is on the disk, as on a Debian machine.
export SYSTEMD_NSPAWN_TMPFS_TMP=0

boot=0
while :; do
  boot=$((boot + 1))
  mapfile -t arguments <"$dir/nspawn.args"
  (
    for group in "$@"; do
      mkdir -p "$group/boot-$boot" && echo "$BASHPID" >"$group/boot-$boot/cgroup.procs" || exit
    done
    exec systemd-nspawn "${arguments[@]}"
  )
  status=$?
  for group in "$@"; do find "$group/boot-$boot" -depth -type d -exec rmdir {} \; 2>/dev/null; done
  # What systemd-nspawn --keep-unit ends with when the host reboots (EXIT_FORCE_RESTART)
  [ "$status" -eq 133 ] || exit "$status"
done
