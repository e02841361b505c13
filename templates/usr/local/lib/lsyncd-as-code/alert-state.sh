# shellcheck shell=bash disable=SC2034,SC2154 # alert-common.sh sets them, the programs that read this use them
# What the monitor and the alerts remember, and where. Read by alert-common.sh.

# Is there room in a directory for what a run writes? The file that is written to find out is as large as a few mails:
# with a few bytes left the state would fit, and no mail. It does not stay: written over it would need no room.
room_in() {
  local proof=$1/.writable written=1
  rm -f "$proof"
  head -c 262144 /dev/zero >"$proof" && written=0
  rm -f "$proof"
  return "$written"
} 2>/dev/null

# What was remembered in /run meanwhile comes in place of what is there, not over it: a mail that has left would be sent
# again.
take_back() {
  local fallback=$run_dir/state
  [[ -d $fallback ]] || return 0
  rm -rf "$kept_state.new" && cp -a "$fallback" "$kept_state.new" && rm -rf "$kept_state" &&
    mv "$kept_state.new" "$kept_state" && rm -rf "$fallback"
}

# Sets `state` to where things are remembered. While /var cannot be written (full, read-only) that is /run, because
# alerts matter most then, and an alert that cannot be recorded would be sent every ten seconds.
choose_state() {
  local fallback=$run_dir/state
  state=$kept_state
  state_kept=1
  mkdir -p "$run_dir"
  # Two at once would take each other's copy away.
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

# Whether alerts are paused now. The beginning counts too: a clock that is set back must not make a pause of years.
paused() {
  local from until
  if [[ -r $state/paused ]]; then read -r from until <"$state/paused"; fi
  [[ ${from:-} =~ ^[0-9]{1,15}$ && ${until:-} =~ ^[0-9]{1,15}$ ]] && ((from <= now && now < until)) && paused_until=$until
}

# recent TIME: is it less than an interval ago? Not when it lies in the future: then the clock was wrong.
recent() {
  ((now >= $1 && now - $1 < alert_interval))
}

# The alerts sent and their times, by key, until all is well. And the recoveries reported, for an interval.
declare -A told=() recovered=()

# load NAME and save NAME: such a table, in a file of the state with lines "time<TAB>key".
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

# Does a mail of this kind wait to be handed over? One that the server refuses to take does not count: it may be so for
# ever, and must not keep others from being written.
waiting() {
  local file
  for file in "$state"/spool/*-"$1".eml; do
    if [[ -e $file && ! -e $file.refused ]]; then return 0; fi
  done
  return 1
}
