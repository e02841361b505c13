# shellcheck shell=bash
# The lock for changes to this host: a deployment, an installation of packages, the undo of an interrupted
# deployment. It is in a directory that only root can enter: any user who can open a file can lock it, and alerts,
# deployments and the undo would wait for ever. While it is taken, the monitor does not check.
# The host's programs source this file; it is also part of the scripts that are sent to a host.

DEPLOYMENT_LOCK=${LSYNCD_LOCK:-/run/lsyncd-as-code/locks/deployment}
# The lock of earlier versions, whose programs stay on a host until the first deployment of this version is active.
EARLIER_LOCK=/run/lsyncd-as-code.lock

# Opens the lock as descriptor 9 without changing its time, which the monitor reads as the time of the last deployment.
open_deployment_lock() {
  local folder=${DEPLOYMENT_LOCK%/*}
  mkdir -p "$folder" && chmod 0700 "$folder" && { exec 9>>"$DEPLOYMENT_LOCK"; } 2>/dev/null && chmod 0600 "$DEPLOYMENT_LOCK"
}

# Takes the lock. Returns 1 if another run still holds it after so many seconds.
take_deployment_lock() { # seconds
  open_deployment_lock && flock -w "$1" 9 && touch "$DEPLOYMENT_LOCK" && take_earlier_lock "$1"
}

# Succeeds if a root process holds the lock of an earlier version; a lock held by another user means nothing. Looks for
# processes that have the file open, because the one that took the lock (flock) has ended.
earlier_version_works() {
  ! flock -n "$EARLIER_LOCK" true &&
    [ -n "$(find /proc/[0-9]*/fd -maxdepth 1 -user 0 -lname "$EARLIER_LOCK" -print -quit 2>/dev/null)" ]
}

# Takes the lock of an earlier version, so that its monitor does not check either.
take_earlier_lock() { # seconds
  local waited=0
  [ -e "$EARLIER_LOCK" ] || return 0
  chmod 0600 "$EARLIER_LOCK"
  while earlier_version_works; do
    [ "$waited" -lt "$1" ] || return 1
    sleep 1
    waited=$((waited + 1))
  done
  { exec 8>>"$EARLIER_LOCK"; } 2>/dev/null && flock -n 8
  return 0
}

# Once this version is active, nothing uses that lock.
drop_earlier_lock() { rm -f "$EARLIER_LOCK"; }
