# shellcheck shell=bash disable=SC2154 # monitor.sh sets them
# Errors in lsyncd's log and in the journal, as findings. Read by monitor.sh.

# Error lines of the log and the journal, by class: one finding per class.
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
    # Of what rsync says, these are only the consequence.
    if [[ -z ${example[$class]:-} || ! $line =~ "Broken pipe"|"connection unexpectedly closed" ]]; then example[$class]=$line; fi
  done <"$file"
  # rsync's single complaints come before the line with its exit code: one finding, not two.
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
