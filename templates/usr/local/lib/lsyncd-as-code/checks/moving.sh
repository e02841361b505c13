# shellcheck shell=bash disable=SC2034,SC2154 # monitor.sh and `process` set them

# Prints a number that changes while lsyncd's children work.
work_done() {
  local pid line sum=0
  while read -r pid; do
    while read -r _ line; do sum=$((sum + line)); done 2>/dev/null <"/proc/$pid/io"
    sum=$((sum + pid))
  done < <(call_processes)
  printf '%s' "$sum"
}

# until_true SECONDS COMMAND...: waits until the command succeeds, for at most so many seconds.
until_true() {
  local end=$(($(ticks) + $1 * 100))
  shift
  until "$@"; do
    (($(ticks) < end)) || return 1
    sleep 0.2
  done
}

# By handle, because the application's user can replace any of its files by a link or a FIFO, on both volumes.
probe() { "$library/volume-file" "$1" "$2" "$probe_name"; } # make|read|remove|is VOLUME

arrived() { [[ $(probe read "$lsyncd_target" 2>/dev/null) == "$1" ]]; }

gone() {
  probe is "$lsyncd_target" 2>/dev/null
  (($? == 1))
}

# A reason that holds until that pass ends.
first_pass="the first full pass is running"

# Succeeds during a first full pass. It is the first of lsyncd's changes; a later line can come from a file name with a newline.
in_first_pass() {
  grep -m 1 -a -A 1 -E '^There are [0-9]+ delays$' "$lsyncd_status" 2>/dev/null | tail -n 1 | grep -a -qE '^(active|wait|block) *Init'
}

# Prints the reason if the mirror is only slow; fails otherwise.
busy() {
  local pid name run_state parent session
  if in_first_pass; then
    echo "$first_pass"
    return
  elif [[ $(work_done) != "$1" ]]; then
    echo "a new change is waiting behind others that are being copied"
    return
  fi
  while read -r pid; do
    if process "$pid" && [[ $run_state == R ]]; then
      echo "lsyncd waits for the processor"
      return
    fi
  done < <(unit_processes)
  return 1
}

# Reports a mirror that works but has not mirrored the probe yet as ok, for a limited time: an hour, because a busy loop
# also looks like work. A first pass may take days, but must progress from one run to the next.
excuse() {
  local up since last moved_at moved
  up=$(($(ticks) / 100))
  if [[ $1 == "$first_pass" ]]; then
    moved=$(work_done)
    if [[ -r $state/first-pass ]]; then read -r last moved_at <"$state/first-pass"; fi
    if [[ ${last:-} != "$moved" || ! ${moved_at:-} =~ ^[0-9]{1,12}$ ]] || ((moved_at > up)); then moved_at=$up; fi
    put "$work/remember/first-pass" "$moved $moved_at"
    if ((up - moved_at >= period - 60)); then
      problem moving-stuck "$1, but has not moved for $(((up - moved_at) / 60)) minutes$(leases)"
    else
      ok "$1"
    fi
    return
  fi
  # The start of the delay, in seconds since boot: a clock that jumps, or a host that was off, is not a delay.
  since=$(number_in "$state/busy-since" "$up")
  ((since <= up)) || since=$up
  put "$work/remember/busy-since" "$since"
  if ((up - since >= 3600)); then
    problem moving-slow "no change has reached the target for $(((up - since) / 60)) minutes: $1$(leases)"
  else
    ok "$1$(leases)"
  fi
}

proved() {
  put "$work/remember/busy-since" ""
  ok "$1"
}

remove_probe() {
  probe remove "$lsyncd_source"
}

# Prints lsyncd's delay, in seconds, from its own configuration, so that a change of it changes no other file.
delay_of_lsyncd() {
  local delay
  delay=$(sed -n 's/^ *delay *= *\([1-9][0-9]\{0,3\}\),$/\1/p' "$config_file" 2>/dev/null | head -n 1)
  printf '%s' "${delay:-1}"
}

# Tests that a new file in the source reaches the target, and that its deletion does too. Leaves no file behind.
check_moving() {
  local lsyncd_delay token before begun why='' soon most=10 lock=$run_dir/probe.lock
  lsyncd_delay=$(delay_of_lsyncd)
  soon=$((lsyncd_delay + 4))
  if [[ -e $failover_mark ]]; then
    held "held for failover"
    return
  elif ! volumes_fine; then
    skipped "see volumes"
    return
  elif lsyncd_is_dead >/dev/null; then
    skipped "see service"
    return
  fi
  if ((!probing)); then
    skipped "no probe in this run, see the last run"
    return
  fi
  # The check of a killed run continues for some seconds, and would take this run's probe for its own.
  exec 8>>"$lock"
  if ! flock -n 8; then
    why="the check of a run that was killed is still under way"
    if (($(ticks) - $(number_in "$lock" 0) < 6000)); then skipped "$why"; else unknown moving "$why"; fi
    return
  fi
  ticks >"$lock"
  if ((lsyncd_delay > 5)); then
    moving_between_runs
    return
  fi
  token="$now $$ $RANDOM$RANDOM"
  begun=$(ticks)
  before=$(work_done)
  trap remove_probe EXIT
  if ! probe make "$lsyncd_source" <<<"$token" 2>"$work/probe.err"; then
    problem source-unwritable "the source cannot be written: $(<"$work/probe.err")"
    return
  fi
  if ! until_true "$soon" arrived "$token" && ! until_true "$((most - soon))" arrived_or_busy "$token" "$before"; then
    problem moving "a change in the source did not reach the target within $most s, and nothing is being copied$(leases)"
  elif ! arrived "$token"; then
    excuse "${why:-$(busy "$before" || echo "a new change is pending")}"
  else
    remove_probe
    if until_true "$((most - ($(ticks) - begun) / 100))" gone; then
      proved "a change and its removal reached the target within $((($(ticks) - begun + 99) / 100)) s"
    elif why=$(busy "$before") || ((lsyncd_delay > 2)); then
      proved "a change reached the target, its removal is pending${why:+: $why}"
    else
      problem moving "a deletion in the source did not reach the target, and nothing is being copied"
    fi
  fi
  remove_probe
  if ! until_true 1 gone; then probe remove "$lsyncd_target"; fi
}

# Sets `why` to the output of busy.
arrived_or_busy() {
  arrived "$1" || why=$(busy "$2")
}

# If lsyncd's delay is too long for one run, a probe made in one run is checked in the next.
moving_between_runs() {
  local token='' before why
  if [[ -r $state/probe ]]; then read -r token <"$state/probe"; fi
  if [[ -z $token ]]; then
    token="$now $$ $RANDOM$RANDOM"
    if probe make "$lsyncd_source" <<<"$token" 2>"$work/probe.err"; then
      put "$work/remember/probe" "$token"
      ok "made a change; the next run checks that it arrived"
    else
      problem source-unwritable "the source cannot be written: $(<"$work/probe.err")"
    fi
    return
  fi
  put "$work/remember/probe" ""
  remove_probe
  if arrived "$token"; then
    proved "the change made at the last run has reached the target"
  elif before=$(work_done) && sleep 5 && why=$(busy "$before"); then
    excuse "$why"
  else
    problem moving "a change made in the last run has not reached the target$(leases)"
  fi
}
