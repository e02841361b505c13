# shellcheck shell=bash disable=SC2034,SC2154 # monitor.sh and the checks set and read them
# The state of lsyncd.service and its processes, for several checks. Sourced by monitor.sh.

# Prints a property of lsyncd.service, as systemd reported it at the start of the run.
unit_is() {
  local line
  while IFS= read -r line; do
    if [[ $line == "$1="* ]]; then printf '%s' "${line#*=}" && return; fi
  done <"$work/unit.out"
}

ask_systemd=(systemctl show "$unit" --property
  "LoadState,ActiveState,SubState,Result,MainPID,NRestarts,ControlGroup,MemoryMax,MemoryHigh,InvocationID,StateChangeTimestampMonotonic")

# Succeeds if systemd reported the service's state.
systemd_answered() {
  [[ -s $work/unit.out ]]
}

# Prints the pids of lsyncd.service, one per line.
unit_processes() {
  local group root
  group=$(unit_is ControlGroup)
  [[ -n $group ]] || return 0
  for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [[ -r $root$group/cgroup.procs ]]; then cat "$root$group/cgroup.procs" && return; fi
  done 2>/dev/null
}

# Sets `name`, `run_state` (proc(5): R, S, D, T, Z, ...), `parent` and `session` of a process.
process() {
  local line
  { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  name=${line#*\(}
  name=${name%)*}
  read -r run_state parent _ session _ <<<"${line##*) }"
}

# Prints the processes that do a call of lsyncd. Not the database copier, which has its own session and delays nothing else, and not the
# process that only waits for the next call, which is the child of none of them.
call_processes() {
  local pid main own='' name run_state parent session
  main=$(unit_is MainPID)
  process "$main" && own=$session
  while read -r pid; do
    if ! process "$pid" || [[ $pid == "$main" || $name == lsyncd || $session != "$own" ]]; then continue; fi
    if [[ $name != rsync-wrapper || $parent != 1 ]]; then echo "$pid"; fi
  done < <(unit_processes)
}

# Succeeds and prints the reason if lsyncd is dead. systemd's state is not enough: the unit generated from Debian's init
# script stays "active (exited)" when lsyncd is dead, and a process that was stopped by a signal is also active.
lsyncd_is_dead() {
  local state pid name run_state parent session why
  state=$(unit_is ActiveState)
  if ! systemd_answered; then
    echo "systemd does not report whether lsyncd.service is running"
    return
  elif [[ $(unit_is LoadState) != loaded ]]; then
    echo "lsyncd.service is not installed"
    return
  elif [[ $state != active ]]; then
    echo "lsyncd.service is not running ($state, $(unit_is SubState), last result $(unit_is Result))"
    return
  fi
  why="systemd shows lsyncd.service as active ($(unit_is SubState)), but no lsyncd process lives"
  while read -r pid; do
    if ! process "$pid" || [[ $name != lsyncd ]]; then continue; fi
    case $run_state in
    T | t) why="lsyncd (process $pid) is stopped by a signal" ;;
    Z | X) ;;
    *) return 1 ;;
    esac
  done < <(unit_processes)
  echo "$why"
}

# For checks that are meaningless while lsyncd does not run: prints held or skipped then, otherwise fails.
not_while_dead() {
  if [[ -e $failover_mark ]]; then
    held "held for failover"
  elif lsyncd_is_dead >/dev/null; then
    skipped "see service"
  else
    return 1
  fi
}

# Prints "; " and a sentence about a process that holds leases on files of the source while something waits to open one; nothing if there is
# none. Its owner can lease a file (fcntl(2), F_SETLEASE), and the kernel ends a lease only when lease-break-time has passed.
leases() {
  local device number pid count name run_state parent session
  device=$(findmnt -n -o MAJ:MIN -T "$lsyncd_source" 2>/dev/null) || return 0
  # proc_locks(5): hexadecimal there.
  printf -v device '%02x:%02x' "${device%%:*}" "${device##*:}"
  read -r _ number pid < <(sed -nE "s/^[0-9]+: LEASE +BREAKING +[A-Z]+ ([0-9]+) $device:([0-9]+) .*/\2 \1/p" /proc/locks | sort -u | uniq -c)
  if [[ -z $number ]] || ! process "$pid"; then return 0; fi
  count=$(grep -cE "^[0-9]+: LEASE +(ACTIVE|BREAKING) +[A-Z]+ $pid $device:" /proc/locks)
  printf '; process %s (%s, user %s) holds leases on %s files of the source, and copying waits up to %s s for each: end that process' \
    "$pid" "$name" "$(stat -c %U "/proc/$pid" 2>/dev/null)" "$count" "$(number_in /proc/sys/fs/lease-break-time 45)"
}

volumes_fine() {
  [[ ${volumes_outcome:-} == fine ]]
}
