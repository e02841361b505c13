# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

check_source() {
  local first
  if ! volumes_fine; then
    if [[ -e $failover_mark ]]; then held "held for failover"; else skipped "see volumes"; fi
    return
  fi
  # Our own files are no data. `ls -U` prints while it reads, so it stops at the first name that counts.
  # shellcheck disable=SC2010 # the names do not matter, only whether there is one
  first=$(ls -U1A -- "$lsyncd_source" | grep -avxE -m 1 -e 'lost\+found|\.lsyncd-wait\.[0-9]+' -e "${probe_name//./\\.}" -e "${private_name//./\\.}")
  if [[ -n $first ]]; then
    put "$work/remember/source-had-files" 1
    ok "it has files"
  elif [[ -e $state/source-had-files ]]; then
    problem source-emptied "the source is empty now, and the mirror will be too. If that is intended: sudo rm $state/source-had-files"
  else
    ok "it is empty, and has been since the deployment"
  fi
}
