# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Checks the monitor's own last run. Uses the uptime, because it does not jump.
check_monitor() {
  local up since timer booted at='' verdict=''
  up=$(($(ticks) / 100))
  # Not 0 in a container: the uptime is that of its host.
  booted=$(systemctl show --property UserspaceTimestampMonotonic --value)
  [[ $booted =~ ^[0-9]{1,18}$ ]] || booted=0
  booted=$((booted / 1000000))
  # The last run in this boot. It does not go by boot_id: in a container, a unit with ProtectKernelTunables= reads that of the host.
  if [[ -r $run_dir/verdict ]]; then read -r at verdict _ <"$run_dir/verdict"; fi
  if ! [[ $at =~ ^[0-9]{1,15}$ ]] || ((at < booted || at > up)); then at=''; fi
  if [[ -n ${interrupted:-} ]]; then verdict=failed; fi
  measure monitor "$verdict"
  if [[ -n $at ]]; then measure monitor_seconds $((up - at)); fi
  if ((state_kept == 0)); then
    problem state "$kept_state cannot be written: the record of sent alerts lasts only until the next boot"
  fi
  timer=$(systemctl show lsyncd-monitor.timer --property ActiveState,UnitFileState --value | tr '\n' ' ')
  if [[ $timer != "active enabled "* ]]; then
    problem monitor-timer "no check runs on its own: lsyncd-monitor.timer is ${timer:-unknown}(sudo systemctl enable --now lsyncd-monitor.timer)"
  fi
  # The timer starts the first run two minutes after the boot.
  if [[ -n $at ]]; then since=$((up - at)); else since=$((up - booted - 120)); fi
  if [[ -n ${interrupted:-} ]]; then
    problem monitor "the previous run was interrupted (systemctl status lsyncd-monitor.service)"
  elif [[ -z $at && ! -e $state/last-run ]]; then
    ok "first run"
  elif ((since > 2 * period + 60)); then
    problem monitor "no check ran for $((since / 60)) minutes (systemctl status lsyncd-monitor.timer)"
  elif [[ -z $at ]]; then
    ok "no run since the boot"
  else
    ok "the last run was $((since / 60)) minutes ago"
  fi
}
