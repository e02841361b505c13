# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

check_service() {
  local why changed mark
  changed=$(unit_is StateChangeTimestampMonotonic)
  measure state "$(unit_is ActiveState)"
  measure substate "$(unit_is SubState)"
  if [[ $changed =~ ^[1-9][0-9]*$ ]]; then measure state_seconds $(($(ticks) / 100 - changed / 1000000)); fi
  for mark in "$failover_mark" "$held_file"; do
    if [[ -e $mark ]]; then measure held "${mark##*/}: $(head -c 200 "$mark" | head -n 1)"; fi
  done
  if [[ -e $failover_mark ]]; then
    if [[ $(unit_is ActiveState) == active ]]; then
      problem failover-running "lsyncd runs although $failover_mark holds the mirror: stop it, or remove the mark"
    else
      held "held for failover: $(head -c 200 "$failover_mark" | head -n 1)"
    fi
    return
  fi
  if [[ $(unit_is ActiveState) == activating ]]; then
    # lsyncd-alert has recorded the failure, and `restarts` reports how often it happens.
    skipped "it is being started ($(unit_is SubState), last result $(unit_is Result)), see restarts"
    return
  fi
  # A restart takes a second: check again before reporting it as down.
  if lsyncd_is_dead >/dev/null && [[ $changed =~ ^[0-9]+$ ]] && (($(ticks) - changed / 10000 < 500)); then
    sleep 3
    "${ask_systemd[@]}" >"$work/unit.again" && mv "$work/unit.again" "$work/unit.out"
  fi
  if why=$(lsyncd_is_dead); then problem service "$why"; else ok "lsyncd.service is running, process $(unit_is MainPID)"; fi
}
