# shellcheck shell=bash
# The lock for changes of this host: a deployment, an installation of packages, the undo of an interrupted
# deployment. In a directory that only root can enter: what anybody can open, anybody can lock, and alerts, deployments and
# the undo would wait for ever. The monitor looks at it, and holds off.
# A library of the host's programs, and a part of the scripts that are sent to a host.

DEPLOYMENT_LOCK=${LSYNCD_LOCK:-/run/lsyncd-as-code/locks/deployment}
# Where earlier versions had it. Their programs are on a host until the first deployment of this one is in force.
EARLIER_LOCK=/run/lsyncd-as-code.lock

# Opens the lock as descriptor 9, without touching its time: that is the time of the last deployment to the monitor.
open_deployment_lock() {
  local folder=${DEPLOYMENT_LOCK%/*}
  mkdir -p "$folder" && chmod 0700 "$folder" && { exec 9>>"$DEPLOYMENT_LOCK"; } 2>/dev/null && chmod 0600 "$DEPLOYMENT_LOCK"
}

# Waits for it. Returns 1 when another run has it for so many seconds.
take_deployment_lock() { # seconds
  open_deployment_lock && flock -w "$1" 9 && touch "$DEPLOYMENT_LOCK" && take_earlier_lock "$1"
}

# Whether a process of root has the lock of an earlier version. One that another user holds means nothing. Asked by who
# has it open: the process that took it (flock) has ended since.
earlier_version_works() {
  ! flock -n "$EARLIER_LOCK" true &&
    [ -n "$(find /proc/[0-9]*/fd -maxdepth 1 -user 0 -lname "$EARLIER_LOCK" -print -quit 2>/dev/null)" ]
}

# Holds off the monitor of an earlier version as well.
take_earlier_lock() { # seconds
  local deadline=$((SECONDS + $1))
  [ -e "$EARLIER_LOCK" ] || return 0
  chmod 0600 "$EARLIER_LOCK"
  while earlier_version_works; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 1
  done
  { exec 8>>"$EARLIER_LOCK"; } 2>/dev/null && flock -n 8
  return 0
}

# This version is in force: nothing asks for that any more.
drop_earlier_lock() { rm -f "$EARLIER_LOCK"; }
