# shellcheck shell=bash disable=SC2154 # lsyncd-monitor.sh and alert-common.sh set them
# One run of the monitor. Sourced by lsyncd-monitor.sh, which sets the limits and documents the options, after
# whole.sh.
#
# A check is a file checks/NAME.sh with a function check_NAME that prints lines "verdict<TAB>key<TAB>text", the verdict one of
#   ok       healthy
#   held     stopped on purpose
#   skipped  not checked, because of a finding of another check
#   problem  not healthy; the key identifies the problem and stays the same while it lasts (no counts in it)
#   unknown  could not be checked
# To add a check, write the file and add its name to `checks`. Checks run in parallel and are abandoned after
# `check_limit` seconds. A check writes its state to $work/remember; it is kept once the findings are reported.
# shellcheck disable=SC2034 # the checks and alert-common.sh read them

# shellcheck source=/dev/null
for part in alert-common volume failover monitor/lsyncd monitor/errors monitor/findings monitor/metrics monitor/deployments; do
  source "$parts/$part.sh" || return
done
unset part

read_settings limits metrics_file
read_settings mirror held_file allow_file accept_file config_file sqlite_state_directory monitor_ran_file guard
whole
deployment_phase=$state_directory/transaction/phase

# In the order of the output. `volumes` comes before all of them.
checks=(monitor service restarts memory watches log journal backlog databases verify disk source moving exceptions)
# 1 if this run writes a probe; the run that starts the checks sets it.
probing=${probing:-1}
# Seconds between two runs (lsyncd-monitor.timer).
period=300
# Seconds. Including the mail (12 s), a run takes less than 30 s whatever hangs.
guard_limit=3
check_limit=12

# The status files of the database copier and of lsyncd-verify; the format: Status.pm and Verify/Report.pm.
databases=$sqlite_state_directory/status.tsv
verified=$sqlite_state_directory/verify.tsv
probe_name=.lsyncd-monitor-probe

# Runs one check in this process: run_check NAME.
run_check() {
  # shellcheck source=/dev/null
  source "$library/checks/$1.sh" && "check_$1"
}

pause() {
  local seconds
  if ! [[ ${1:-} =~ ^([1-9][0-9]{0,4})([mhd])$ ]]; then
    echo "give a duration: --pause 30m, --pause 2h or --pause 1d, at most 7d" >&2
    return 2
  fi
  case ${BASH_REMATCH[2]} in
  m) seconds=$((BASH_REMATCH[1] * 60)) ;;
  h) seconds=$((BASH_REMATCH[1] * 3600)) ;;
  *) seconds=$((BASH_REMATCH[1] * 86400)) ;;
  esac
  if ((seconds > 7 * 86400)); then
    echo "a pause lasts at most 7d" >&2
    return 2
  fi
  if ! put "$state/paused" "$now $((now + seconds))"; then
    echo "could not write $state/paused" >&2
    return 2
  fi
  echo "no alerts until $(date -d "@$((now + seconds))" '+%F %T %z'); lsyncd keeps running. To end the pause: $0 --resume"
}

# Ends the checks of a run that ends early, and waits until they have cleaned up: otherwise they would run in parallel
# with those of the next run.
end_checks() {
  local name group groups=() end=$(($(ticks) + 200))
  for name in volumes "${checks[@]}"; do
    if [[ -n ${started[$name]:-} ]]; then groups+=("${started[$name]}"); fi
  done
  for group in "${groups[@]}"; do kill -TERM -- "-$group" || kill -TERM "$group"; done 2>/dev/null
  for group in "${groups[@]}"; do
    while kill -0 -- "-$group" && (($(ticks) < end)); do sleep 0.05; done 2>/dev/null
  done
}

finish() {
  local status=$?
  trap - EXIT
  if ((finished == 0)); then end_checks; fi
  rm -rf "$work"
  if ((finished == 0)); then
    echo "the health check was interrupted" >&2
    exit 2
  fi
  exit "$status"
}

# For check_monitor of the next run, and for `npm run status`: note_run VERDICT, its exit status.
note_run() {
  put "$run_dir/verdict" "$(($(ticks) / 100)) $1$found"
  # Only says that there was a run, before this boot or in it. An earlier version reads a "-" as no run.
  put "$state/last-run" -
  rm -f "$run_dir/running"
}

# Runs all checks in parallel and waits for them; with `failures` it also reports the recorded failures.
look() {
  local name
  mkdir "$work/remember"
  export work state state_kept now probing volumes_outcome=
  # `volumes` runs first: no other check may touch a volume that is missing or hangs.
  start unit "${ask_systemd[@]}"
  start volumes "$0" --check volumes
  await "$guard_limit"
  if [[ ${outcome[volumes]} == 0 && $(<"$work/volumes.out") == ok* ]]; then volumes_outcome=fine; fi
  if [[ ${outcome[unit]} != 0 ]]; then : >"$work/unit.out"; fi
  for name in "${checks[@]}"; do start "$name" "$0" --check "$name"; done
  if [[ ${1:-} == failures ]] && ((!silent)); then start failures "$alert" failures; fi
  await "$check_limit"
}

# For `npm run status` (cli/status/report.ts): a run that writes no probe, sends nothing and keeps no state. Prints lines
# "value<TAB>NAME<TAB>TEXT", "check<TAB>NAME<TAB>VERDICT<TAB>TEXT" and, of the last run, "last<TAB>LINE"; at the end "end".
report() {
  local name line paused_until='' deployed looked=0
  printing=0
  probing=0
  if [[ -d $run_dir/state ]]; then state=$run_dir/state; else state=$kept_state; fi
  state_kept=1
  if [[ -e $run_dir/running ]] && flock -n -s "$run_dir/monitor.lock" true; then export interrupted=1; fi
  deployed=$(last_deployment)
  if ! deploying; then
    looked=1
    look
  fi
  # Nothing was checked, or a deployment that began meanwhile has stopped what was.
  if ((looked == 0)) || deploying || [[ $(last_deployment) != "$deployed" ]]; then
    printf 'check\talerts\theld\t%s\n' "$deployment_text"
  else
    for name in volumes "${checks[@]}"; do
      collect "$name"
      printf 'check\t%s\t%s\t%s\n' "$name" "${verdicts[$name],,}" "${said[$name]}"
    done
  fi
  for name in "${!values[@]}"; do printf 'value\t%s\t%s\n' "$name" "${values[$name]}"; done
  if paused; then printf 'value\tpaused\t%s\n' "$(date -d "@$paused_until" '+%F %T %z')"; fi
  # Results of the probe and of log lines already read cannot be determined again.
  if [[ -r $run_dir/verdict ]]; then
    while IFS= read -r line; do printf 'last\t%s\n' "$(one_line "$line")"; done \
      < <(grep -aE '^(PROBLEM|UNKNOWN) (moving|log|journal) ' "$run_dir/verdict")
  fi
  echo end
  finished=1
}

run() {
  local name paused_until='' silent=0 status=0 problem_text deployed
  exec 9>"$run_dir/monitor.lock"
  if ! flock -w 3 9; then
    echo "another check is running" >&2
    finished=1
    return 2
  fi
  if [[ -e $run_dir/running ]]; then export interrupted=1; fi
  : >"$run_dir/running"
  # Someone ended the run on purpose.
  trap 'rm -f "$run_dir/running"; end_checks; finished=1; exit 2' INT HUP TERM
  # lsyncd-supervisor reads this, and starts a run if there was none for too long.
  put "$monitor_ran_file" "$(($(ticks) / 100))"

  deployed=$(last_deployment)
  if deploying; then
    hold_for_deployment
    return 0
  fi
  if paused; then silent=1; fi

  # Undoes a deployment that was killed; does nothing while one is running.
  if [[ -e $deployment_phase ]]; then start undo systemctl start --no-block lsyncd-undo.service; fi

  look failures
  # A check that was killed could not remove its probe.
  if [[ ${outcome[moving]} == hung ]] && volumes_fine; then start tidy "$library/volume-file" remove "$lsyncd_source" "$probe_name"; fi

  # A deployment that began meanwhile has stopped what was checked.
  if deploying || [[ $(last_deployment) != "$deployed" ]]; then
    hold_for_deployment
    return 0
  fi
  if ((silent)); then
    printf 'PAUSED   %-9s no alerts until %s\n' alerts "$(date -d "@$paused_until" '+%F %T %z')"
    found+=$'\n'"held alerts paused until $(date -d "@$paused_until" '+%F %T %z')"
  fi
  for name in volumes "${checks[@]}"; do collect "$name"; done

  if ((${#findings[@]} > 0)); then status=1; elif ((${#unknowns[@]} > 0)); then status=2; fi
  load told
  load recovered
  if ((silent)); then
    :
  elif ((status != 0)); then
    alert_of_problems || status=2
  elif [[ ! -e $failover_mark ]]; then
    report_recovery || status=2
  fi
  # From here on, all that the checks read counts as reported.
  if [[ -n $(ls -A "$work/remember") ]]; then mv -f "$work"/remember/* "$state/"; fi
  if [[ -n $metrics_file ]] && ! write_metrics "$silent" 2>"$work/metrics.err"; then
    printf 'note     metrics   not written: %s\n' "$(one_line "$(tail -n 1 "$work/metrics.err")")"
  fi
  if [[ -n $heartbeat_url ]]; then
    if ((status == 0 || silent)); then start_heartbeat "$heartbeat_url" ""; else start_heartbeat "$heartbeat_url" /fail; fi
  fi
  if ((!silent)); then start flush "$alert" flush 4; fi
  if ((!silent && ${#alert_command[@]} > 0)); then start command "$alert" command 4; fi
  await 6
  if [[ ${outcome[heartbeat]:-0} != 0 ]]; then
    printf 'note     heartbeat not reached: %s\n' "$(one_line "$(tail -n 1 "$work/heartbeat.err")")"
  fi
  if ((${#alert_command[@]} > 0)) && [[ ${outcome[command]:-0} != 0 ]]; then
    problem_text=$(one_line "$(tail -n 1 "$work/command.out")")
    echo "note     command   did not accept the message, retried at the next run: ${problem_text:-no answer}"
  fi
  if ((${#recipients[@]} == 0)); then
    if ((${#alert_command[@]} == 0)); then echo "note     mail      no recipient is set: no alert is sent"; fi
  elif [[ ${outcome[flush]:-0} != 0 ]]; then
    problem_text=$(one_line "$(tail -n 1 "$work/flush.out")")
    echo "note     mail      could not be sent, retried at the next run: ${problem_text:-no answer}"
  elif [[ -s $work/flush.out ]]; then
    echo "note     mail      $(one_line "$(tail -n 1 "$work/flush.out")")"
  fi
  note_run "$status"
  finished=1
  return "$status"
}

# The program: monitor [OPTION]...
monitor() {
  if ((EUID != 0)); then
    echo "this needs root: sudo $0" >&2
    exit 2
  fi
  case ${1:-} in
  --check)
    # Called by a run: one check in its own process.
    run_check "$2"
    ;;
  --test-alert) exec "$alert" test ;;
  --pause)
    choose_state
    pause "${2:-}"
    ;;
  --resume)
    choose_state
    rm -f "$state/paused"
    echo "alerts are on"
    ;;
  --status)
    finished=0
    make_work || exit 2
    trap finish EXIT
    report
    ;;
  "")
    finished=0
    choose_state
    make_work || exit 2
    trap finish EXIT
    run
    ;;
  *)
    sed -n '/^# Is the/,/^# Exit/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
  esac
}
