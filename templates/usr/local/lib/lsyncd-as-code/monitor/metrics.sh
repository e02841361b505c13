# shellcheck shell=bash disable=SC2154 # monitor.sh sets them
# Writes a run's values as an OpenMetrics file for node_exporter's textfile collector. Sourced by monitor.sh.
# docs/monitoring/README.md describes each metric.

# Prints a value in double quotes.
metric_label() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# metric NAME HELP [LABELS VALUE]...: prints one family. Omits unknown values, and a family without any.
metric() {
  local name=$1 help=$2 samples=''
  shift 2
  while (($# > 0)); do
    if [[ $2 =~ ^[0-9]+$ ]]; then samples+="$name${1:+{$1\}} $2"$'\n'; fi
    shift 2
  done
  if [[ -n $samples ]]; then printf '# HELP %s %s\n# TYPE %s gauge\n%s' "$name" "$help" "$name" "$samples"; fi
}

# Sets `pass_ended` and `pass_seconds` to the end and duration of the last full pass (LsyncdAsCode::Passes).
last_pass() {
  pass_ended='' pass_seconds=''
  if [[ -r $state_directory/passes ]]; then read -r pass_ended pass_seconds < <(tail -n 1 "$state_directory/passes"); fi
}

# Prints 12 digits that change with anything that is deployed (`digest` of infra/files.ts).
deployment_digest() {
  if [[ -r $state_directory/manifest ]]; then printf %s "$(<"$state_directory/manifest")" | sha256sum | head -c 12; fi
}

metrics() {
  local name up=0 digest failover pass_ended pass_seconds families=() healthy=()
  last_pass
  if [[ ${verdicts[service]:-} == ok ]]; then up=1; fi
  for name in volumes "${checks[@]}"; do
    case ${verdicts[$name]:-} in
    ok) healthy+=("check=\"$name\"" 1) ;;
    PROBLEM | UNKNOWN) healthy+=("check=\"$name\"" 0) ;;
    esac
  done
  for name in "${!values[@]}"; do
    if [[ $name == databases_waiting:* ]]; then families+=("cause=$(metric_label "${name#*:}")" "${values[$name]}"); fi
  done
  metric lsyncd_up "Whether lsyncd runs." "" "$up"
  metric lsyncd_check_healthy "Whether a check of the monitor found nothing; left out while it is held or skipped." "${healthy[@]}"
  metric lsyncd_lag_seconds "Age of the oldest change that is not mirrored yet." \
    'kind="files"' "${values[behind_seconds]:-}" 'kind="databases"' "${values[databases_behind_seconds]:-}"
  metric lsyncd_databases_waiting "Databases waiting to be copied, by cause." "${families[@]}"
  metric lsyncd_databases_waiting_all "Databases waiting to be copied." "" "${values[databases_waiting]:-}"
  metric lsyncd_delays "Changes that lsyncd has not mirrored yet." "" "${values[backlog]:-}"
  metric lsyncd_restarts_last_hour "Restarts of lsyncd by systemd within the last hour." "" "${values[restarts_last_hour]:-}"
  metric lsyncd_last_pass_timestamp_seconds "When the last full pass was complete." "" "$pass_ended"
  metric lsyncd_last_pass_duration_seconds "Duration of the last full pass." "" "$pass_seconds"
  metric lsyncd_verify_timestamp_seconds "When lsyncd-verify last finished." "" "${values[verify_finished]:-}"
  metric lsyncd_verify_faults "Faults that the last lsyncd-verify found in the mirror." "" "${values[verify_faults]:-}"
  metric lsyncd_verify_unchecked "Files that the last lsyncd-verify could not check." "" "${values[verify_unchecked]:-}"
  metric lsyncd_deletions_held "Whether the mirror is held: a mass deletion, or a source that is older than its mirror." "" "$([[ -e $held_file ]] && echo 1 || echo 0)"
  # The volumes may know of a failover that a restored root disk has forgotten.
  failover=${values[failover]:-}
  metric lsyncd_failover "Whether the mirror is in use in place of the source." "" "${failover:+$([[ $failover == mirroring ]] && echo 0 || echo 1)}"
  if [[ -n $failover ]]; then
    metric lsyncd_failover_state "The state of a failover: mirroring, in-use, restoring or done." "state=$(metric_label "$failover")" 1
  fi
  metric lsyncd_watches "Directories that lsyncd watches." "" "${values[watches]:-}"
  metric lsyncd_watches_limit "Directories that lsyncd may watch." "" "${values[watches_limit]:-}"
  metric lsyncd_memory_bytes "Anonymous memory of lsyncd and its children." "" "${values[memory_bytes]:-}"
  metric lsyncd_memory_limit_bytes "Memory limit of lsyncd's unit." "" "${values[memory_limit_bytes]:-}"
  metric lsyncd_mirror_size_bytes "Size of the target's file system." "" "${values[disk_size_bytes]:-}"
  metric lsyncd_mirror_free_bytes "Free space of the target's file system." "" "${values[disk_free_bytes]:-}"
  metric lsyncd_mirror_used_percent "Used space of the target's file system, in percent." "" "${values[disk_percent]:-}"
  metric lsyncd_mirror_inodes_used_percent "Used inodes of the target's file system, in percent." "" "${values[inodes_percent]:-}"
  digest=$(deployment_digest)
  if [[ -n $digest ]]; then
    metric lsyncd_deployment_info "Always 1; the digest changes with each deployment." "digest=$(metric_label "$digest")" 1
  fi
  metric lsyncd_alerts_paused "Whether alerts are paused." "" "$1"
  metric lsyncd_monitor_timestamp_seconds "When the monitor last finished a run." "" "$EPOCHSECONDS"
  echo '# EOF'
}

# write_metrics PAUSED: replaces the file atomically. It is world-readable; mktemp follows no link that another user
# left in its directory.
write_metrics() {
  local new
  new=$(mktemp -- "${metrics_file%/*}/.lsyncd.XXXXXX") || return 1
  if metrics "$1" >"$new" && chmod 0644 -- "$new" && mv -fT -- "$new" "$metrics_file"; then return 0; fi
  rm -f -- "$new"
  return 1
}
