# shellcheck shell=bash disable=SC2034,SC2154 # alert-common.sh sets them, the programs that read this use them
# The state of the monitor and of the alerts, and where it is kept. Sourced by alert-common.sh.

# Succeeds if a directory has room for what a run writes. The test file is as large as a few mails: with a few bytes
# left, the state would fit but no mail. It is removed each time, because overwriting it would need no room.
room_in() {
  local proof=$1/.writable written=1
  rm -f "$proof"
  head -c 262144 /dev/zero >"$proof" && written=0
  rm -f "$proof"
  return "$written"
} 2>/dev/null

# Replaces the state with the one kept in /run meanwhile. It is not merged: a mail that was already sent would be sent
# again.
take_back() {
  local fallback=$run_dir/state
  [[ -d $fallback ]] || return 0
  rm -rf "$kept_state.new" && cp -a "$fallback" "$kept_state.new" && rm -rf "$kept_state" &&
    mv "$kept_state.new" "$kept_state" && rm -rf "$fallback"
}

# Sets `state` to the state's directory. While /var is not writable (full, read-only) that is below /run, because alerts
# matter most then, and an alert that cannot be recorded would be sent every ten seconds.
choose_state() {
  local fallback=$run_dir/state
  state=$kept_state
  state_kept=1
  mkdir -p "$run_dir"
  # Two processes at once would delete each other's copy.
  exec 5>"$run_dir/state.lock"
  flock -w 2 5
  if ! { (umask 022 && mkdir -p "${kept_state%/*}") && mkdir -p "$kept_state" && room_in "$kept_state" && take_back; }; then
    state_kept=0
    if [[ ! -d $fallback ]]; then
      mkdir -p "$fallback"
      cp -a "$kept_state/." "$fallback/"
    fi
    state=$fallback
  fi 2>/dev/null
  exec 5>&-
  mkdir -p "$state/spool"
}

# Succeeds if alerts are paused now. A pause that begins in the future ends: the clock was set back since. It must neither last years
# nor silence alerts again when its time comes.
paused() {
  local from until
  if [[ -r $state/paused ]]; then read -r from until <"$state/paused"; fi
  [[ ${from:-} =~ ^[0-9]{1,15}$ && ${until:-} =~ ^[0-9]{1,15}$ ]] || return 1
  if ((from > now)); then rm -f "$state/paused"; fi
  ((from <= now && now < until)) && paused_until=$until
}

# recent TIME: succeeds if TIME is less than an interval ago. A time in the future is not: the clock was wrong then.
recent() {
  ((now >= $1 && now - $1 < alert_interval))
}

# The times of the alerts sent, by key, kept until recovery; and those of the recoveries reported, kept for an interval.
declare -A told=() recovered=()

# load NAME and save NAME: read and write such a table, a state file with lines "time<TAB>key".
load() {
  local at key
  local -n loaded=$1
  [[ -r $state/$1 ]] || return 0
  while IFS=$'\t' read -r at key; do
    if [[ $at =~ ^[0-9]{1,15}$ && -n $key ]]; then loaded["$key"]=$at; fi
  done <"$state/$1"
}
save() {
  local key text=
  local -n saved=$1
  for key in "${!saved[@]}"; do
    if [[ -n ${saved[$key]} ]]; then text+="${saved[$key]}"$'\t'"$key"$'\n'; fi
  done
  put "$state/$1" "${text%$'\n'}"
}

# Succeeds if a mail of this kind is queued. A mail that the server rejected does not count: it may be rejected for ever,
# and must not prevent others from being written.
waiting() {
  local file
  for file in "$state"/spool/*-"$1".eml; do
    if [[ -e $file && ! -e $file.refused ]]; then return 0; fi
  done
  return 1
}
