# shellcheck shell=bash disable=SC2034,SC2154 # the programs that read this set and use them
# Commands that run beside a program, and that nothing can hang. Read by alert-common.sh.

# A directory for this run, gone at its end.
make_work() {
  mkdir -p "$run_dir"
  work=$(mktemp -d "$run_dir/run.XXXXXX") || return 1
  mkfifo "$work/done" || return 1
  exec {done_fd}<>"$work/done"
}

declare -A started=() outcome=()
run_stdin=/dev/null

# start NAME COMMAND...: runs it beside this script, its output in $work/NAME.out. The names are fixed words: bash
# expands a subscript that it unsets.
# `timeout` is no use here: it waits for its child, and a process that waits for a dead disk ignores even SIGKILL.
# So each command gets a session of its own, reports its end through a pipe, and is left behind when it does not.
# It does not get the locks (7 to 9): one that is left behind would hold them for ever.
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

# await SECONDS: until everything that was started has ended, at most so long. Sets outcome[NAME] to its exit status or "hung".
await() {
  local end=$(($(ticks) + $1 * 100)) left name status
  while ((${#started[@]} > 0)); do
    left=$((end - $(ticks)))
    ((left > 0)) || break
    if read -r -t "$((left / 100)).$(printf '%02d' $((left % 100)))" name status <&"$done_fd"; then
      outcome[$name]=$status
      unset "started[$name]"
    fi
  done
  for name in "${!started[@]}"; do
    kill -KILL -- "-${started[$name]}" 2>/dev/null
    outcome[$name]=hung
    put "$run_dir/hung-$name" "${started[$name]}"
    unset "started[$name]"
  done
}
