# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Checks the monitor's own last run. Uses the uptime, because it does not jump.
check_monitor() {
  local boot up last_boot=- last_up=0 since timer booted at='' verdict=''
  boot=$(</proc/sys/kernel/random/boot_id)
  up=$(($(ticks) / 100))
  if [[ -r $state/last-run ]]; then read -r last_boot last_up <"$state/last-run"; fi
  [[ $last_up =~ ^[0-9]{1,12}$ ]] || last_up=0
  if [[ -r $run_dir/verdict ]]; then read -r at verdict _ <"$run_dir/verdict"; fi
  if [[ -n ${interrupted:-} ]]; then verdict=failed; fi
  measure monitor "$verdict"
  if [[ $at =~ ^[0-9]{1,15}$ ]]; then measure monitor_seconds $((up - at)); fi
  if ((state_kept == 0)); then
    problem state "$kept_state cannot be written: the record of sent alerts lasts only until the next boot"
  fi
  timer=$(systemctl show lsyncd-monitor.timer --property ActiveState,UnitFileState --value | tr '\n' ' ')
  if [[ $timer != "active enabled "* ]]; then
    problem monitor-timer "no check runs on its own: lsyncd-monitor.timer is ${timer:-unknown}(sudo systemctl enable --now lsyncd-monitor.timer)"
  fi
  # In a container the uptime is that of its host.
  booted=$(systemctl show --property UserspaceTimestampMonotonic --value)
  [[ $booted =~ ^[0-9]{1,18}$ ]] || booted=0
  if [[ $last_boot == "$boot" ]]; then since=$((up - last_up)); else since=$((up - booted / 1000000 - 120)); fi
  if [[ -n ${interrupted:-} ]]; then
    problem monitor "the previous run was interrupted (systemctl status lsyncd-monitor.service)"
  elif [[ $last_boot == - ]]; then
    ok "first run"
  elif ((since > 2 * period + 60)); then
    problem monitor "no check ran for $((since / 60)) minutes (systemctl status lsyncd-monitor.timer)"
  else
    ok "the last run was $((since / 60)) minutes ago"
  fi
}
