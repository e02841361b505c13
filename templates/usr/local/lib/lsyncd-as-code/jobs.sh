# shellcheck shell=bash disable=SC2034,SC2154 # the programs that read this set and use them
# Runs commands in the background that cannot block the caller. Sourced by alert-common.sh.

# Creates a temporary directory for this run; the caller removes it at the end.
make_work() {
  mkdir -p "$run_dir"
  work=$(mktemp -d "$run_dir/run.XXXXXX") || return 1
  mkfifo "$work/done" || return 1
  exec {done_fd}<>"$work/done"
}

declare -A started=() outcome=()
run_stdin=/dev/null

# start NAME COMMAND...: runs COMMAND in the background, with its output in $work/NAME.out. Names are fixed words,
# because bash expands a subscript that it unsets.
# `timeout` does not help: it waits for its child, and a process that waits for a dead disk ignores even SIGKILL.
# So each command gets its own session and reports its end through a pipe; one that does not end is left running.
# Commands do not inherit the locks (7 to 9): one that is left running would hold them for ever.
start() {
  local name=$1 group
  shift
  unset "outcome[$name]"
  group=$(number_in "$run_dir/hung-$name" 0)
  if ((group > 1)) && kill -0 -- "-$group" 2>/dev/null; then
    outcome[$name]=hung
    return
  fi
  rm -f "$run_dir/hung-$name"
  # shellcheck disable=SC2016 # for the inner shell
  setsid bash -c '"${@:3}"; printf "%s %s\n" "$2" "$?" >&"$1"' bash "$done_fd" "$name" "$@" \
    <"$run_stdin" >"$work/$name.out" 2>"$work/$name.err" 7>&- 8>&- 9>&- &
  started[$name]=$!
  disown
}

# work_of SESSION: prints the CPU time, in hundredths of a second, that the processes of a session and their ended
# children have used so far; each process that runs or waits for a processor adds a random number, so the sum changes.
work_of() {
  local file line fields sum=0
  for file in /proc/[0-9]*/stat; do
    { line=$(<"$file"); } 2>/dev/null || continue
    # proc(5): state, ppid, pgrp, session, ..., utime, stime, cutime and cstime.
    read -ra fields <<<"${line##*) }"
    if [[ ${fields[3]} != "$1" ]]; then continue; fi
    sum=$((sum + fields[11] + fields[12] + fields[13] + fields[14]))
    # It would continue if a processor were free.
    if [[ ${fields[0]} == R ]]; then sum=$((sum + RANDOM + 1)); fi
  done
  printf '%s' "$sum"
}

# Seconds that each hung command was waited for.
declare -A waited=()

# gather SECONDS: records the outcome of each started command that ends within that time.
gather() {
  local end=$(($(ticks) + $1 * 100)) left name status
  while ((${#started[@]} > 0)); do
    left=$((end - $(ticks)))
    ((left > 0)) || break
    if read -r -t "$((left / 100)).$(printf '%02d' $((left % 100)))" name status <&"$done_fd"; then
      outcome[$name]=$status
      unset "started[$name]"
    fi
  done
}

# await SECONDS: waits for all started commands. Sets outcome[NAME] to the exit status or "hung". A command that does
# nothing is hung after that time. One that works, or waits for a processor, is on a slow machine: it gets up to four
# times as long.
await() {
  local name round works
  local -A before=()
  gather "$1"
  for ((round = 0; round < $1 * 3 && ${#started[@]} > 0; round++)); do
    works=0
    for name in "${!started[@]}"; do before[$name]=$(work_of "${started[$name]}"); done
    gather 1
    for name in "${!started[@]}"; do
      if [[ $(work_of "${started[$name]}") != "${before[$name]}" ]]; then works=1; fi
    done
    ((works)) || break
  done
  for name in "${!started[@]}"; do
    kill -KILL -- "-${started[$name]}" 2>/dev/null
    outcome[$name]=hung
    waited[$name]=$(($1 + round))
    put "$run_dir/hung-$name" "${started[$name]}"
    unset "started[$name]"
  done
}
