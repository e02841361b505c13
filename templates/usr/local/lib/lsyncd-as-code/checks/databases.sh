# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Reports databases whose copy has lagged for too long, one finding per cause.
check_databases() {
  local since cause path reason seconds count=0 total=0 leased='' name
  local -A stale=() oldest=() waiting=()
  if not_while_dead; then return; fi
  if [[ ! -r $databases ]]; then
    none_ahead databases
    measure databases_waiting 0
    measure databases_behind_seconds 0
    ok "none is behind"
    return
  fi
  while IFS=$'\t' read -r since cause path reason; do
    if [[ ! ${since%%.*} =~ ^[0-9]{1,15}$ ]]; then continue; fi
    seconds_since databases "${since%%.*}"
    ((total++ > 0)) || measure databases_behind_seconds "$seconds"
    waiting[$cause]=$((${waiting[$cause]:-0} + 1))
    if ((seconds <= stale_limit)); then continue; fi
    stale[$cause]=$((${stale[$cause]:-0} + 1))
    # The oldest comes first.
    : "${oldest[$cause]:="$path for $seconds s${reason:+ ($reason)}"}"
  done < <(head -c 4000000 "$databases")
  none_ahead databases
  measure databases_waiting "$total"
  if ((total == 0)); then measure databases_behind_seconds 0; fi
  for name in "${!waiting[@]}"; do measure "databases_waiting:$name" "${waiting[$name]}"; done
  if ((${#stale[@]} > 0)); then leased=$(leases); fi
  for name in "${!stale[@]}"; do
    count=$((count + stale[$name]))
    problem "stale-databases-$name" "${stale[$name]} databases are behind in the mirror ($name): ${oldest[$name]}$leased"
  done
  if ((count == 0)); then ok "$total are waiting to be copied, none for more than $stale_limit s"; fi
}
