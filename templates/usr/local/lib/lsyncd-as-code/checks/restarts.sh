# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# systemd resets NRestarts to 0 when an operator starts the service.
check_restarts() {
  local restarts last at many sum=0 file=$work/remember/restarts
  restarts=$(unit_is NRestarts)
  if ! [[ $restarts =~ ^[0-9]+$ ]]; then
    unknown restarts "systemd does not report how often it restarted lsyncd"
    return
  fi
  measure restarts "$restarts"
  last=$(number_in "$state/restarts-seen" "$restarts")
  put "$work/remember/restarts-seen" "$restarts"
  ((restarts >= last)) || last=0
  {
    if [[ -r $state/restarts ]]; then
      while read -r at many; do
        [[ $at =~ ^[0-9]{1,15}$ && $many =~ ^[0-9]{1,9}$ ]] && ((at <= now && now - at < 3600)) && printf '%s %s\n' "$at" "$many"
      done <"$state/restarts"
    fi
    # While a volume is missing, each start is refused; `volumes` reports that.
    if ((restarts > last)) && volumes_fine; then printf '%s %s\n' "$now" "$((restarts - last))"; fi
  } >"$file"
  while read -r at many; do sum=$((sum + many)); done <"$file"
  measure restarts_last_hour "$sum"
  if ((sum >= restart_limit)); then
    problem restarts "systemd restarted lsyncd $sum times in the last hour (limit $restart_limit)"
  else
    ok "restarted $sum times in the last hour"
  fi
}
