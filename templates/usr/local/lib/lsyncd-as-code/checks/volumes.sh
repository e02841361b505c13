# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

check_volumes() {
  local reason reasons status
  if [[ ! -x $guard ]]; then
    unknown volumes "$guard is missing"
    return
  fi
  reasons=$("$guard" 2>&1)
  status=$?
  if ((status == 0)); then
    ok "both are mounted, and are the deployed ones"
  elif [[ -e $failover_mark ]]; then
    held "held for failover: ${reasons//lsyncd-guard: /}"
  else
    reasons=${reasons//lsyncd-guard: /}
    while IFS= read -r reason; do
      [[ -n $reason ]] && problem "volumes: $reason" "$reason"
    done <<<"${reasons:-the guard failed with exit status $status and gave no reason}"
  fi
}
