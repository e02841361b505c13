# shellcheck shell=bash disable=SC2034,SC2154 # monitor.sh and `process` set them

pending() {
  grep -m 1 -a -oE '^There are [0-9]+ delays$' "$lsyncd_status" 2>/dev/null | tr -dc 0-9
}

# Prints for how many seconds the oldest change has been waiting: since a call began with its list, or since a path that
# still waits was changed. A file that keeps changing counts from its last change.
behind() {
  local pid path changed longest=0 seconds began
  while read -r pid; do
    { began=$(<"/proc/$pid/stat"); } 2>/dev/null || continue
    # proc(5): the 22nd field, in hundredths of a second since boot; the 20th after the name.
    began=$(cut -d ' ' -f 20 <<<"${began##*) }")
    seconds=$((($(ticks) - began) / 100))
    if ((seconds > longest)); then longest=$seconds; fi
  done < <(call_processes)
  while IFS= read -r path; do
    changed=$(stat -c %Z -- "$lsyncd_source/$path" 2>/dev/null) || continue
    if ((now - changed > longest)); then longest=$((now - changed)); fi
  done < <(sed -nE '/^There are/,/^$/s/^(active|wait|block) +(Init|Create|Modify|Attrib|Move|Delete)[A-Za-z]* *//p' "$lsyncd_status" 2>/dev/null |
    sed 's# -> .*##; /\/$/d' | head -n 50)
  printf '%s' "$longest"
}

# lsyncd rewrites its status file in place, so it can be empty or incomplete for a moment: read it again. A burst of
# changes also passes quickly.
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
      problem backlog-unknown "$lsyncd_status has not reported the backlog for $missed runs"
    else
      ok "lsyncd has not written its status yet"
    fi
    return
  fi
  put "$work/remember/no-status" 0
  measure backlog "$delays"
  if ((delays == 0)); then measure behind_seconds 0; elif volumes_fine; then measure behind_seconds "$(behind)"; fi
  if ((delays > backlog_limit)); then
    problem backlog "$delays changes are pending (limit $backlog_limit)$(leases)"
  else
    ok "$delays changes are pending"
  fi
}
