# shellcheck shell=bash disable=SC2154 # monitor.sh sets them
# Turns errors in lsyncd's log and in the journal into findings. Sourced by monitor.sh.

# Reports error lines of the log or the journal, one finding per class of errors.
report_errors() {
  local where=$1 file=$2 line class classes=() count=0
  local -A seen=() example=()
  while IFS= read -r line; do
    count=$((count + 1))
    if [[ $line =~ (exitcode( =|:)? \"?|\(code )([0-9]+) ]]; then
      class=sync-error-${BASH_REMATCH[3]}
    elif [[ $line == *OVERFLOW* ]]; then
      class=overflow
    elif [[ $line == *"OOM killer"* ]]; then
      class=out-of-memory
    else
      class=sync-error
    fi
    [[ -n ${seen[$class]:-} ]] || classes+=("$class")
    seen[$class]=$((${seen[$class]:-0} + 1))
    # These messages of rsync are only consequences of another error.
    if [[ -z ${example[$class]:-} || ! $line =~ "Broken pipe"|"connection unexpectedly closed" ]]; then example[$class]=$line; fi
  done <"$file"
  # rsync prints single errors before the line with its exit code: one finding, not two.
  if [[ $where == "the journal" && -n ${seen[sync-error]:-} && ${#classes[@]} -gt 1 ]]; then
    for class in "${classes[@]}"; do
      [[ $class == sync-error-* ]] && example[$class]+=" <- ${example[sync-error]}"
    done
    unset 'seen[sync-error]'
  fi
  for class in "${classes[@]}"; do
    [[ -n ${seen[$class]:-} ]] || continue
    problem "$class" "${seen[$class]} new in $where, the last: ${example[$class]}"
  done
  if ((count == 0)); then ok "no new error in $where"; fi
}
