# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

pending() {
  grep -m 1 -a -oE '^There are [0-9]+ delays$' "$lsyncd_status" 2>/dev/null | tr -dc 0-9
}

# lsyncd rewrites its status file in place, so that it is empty or half-written at moments: look again. A burst of
# changes is over in a moment as well.
check_backlog() {
  local delays round missed
  if not_while_dead; then return; fi
  for round in 1 2 3 4 5 6 7; do
    delays=$(pending)
    if [[ -n $delays ]] && ((delays <= backlog_limit)); then break; fi
    ((round < 7)) && sleep 1
  done
  if [[ -z $delays ]]; then
    missed=$(($(number_in "$state/no-status" 0) + 1))
    put "$work/remember/no-status" "$missed"
    if ((missed >= 3)) && ! lsyncd_is_dead >/dev/null; then
      problem backlog-unknown "$lsyncd_status has said nothing of the backlog for $missed runs"
    else
      ok "lsyncd has not written its status"
    fi
    return
  fi
  put "$work/remember/no-status" 0
  if ((delays > backlog_limit)); then
    problem backlog "$delays changes wait to be mirrored (limit $backlog_limit)"
  else
    ok "$delays changes wait"
  fi
}
