# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Reports the findings of the last run of lsyncd-verify, by its timer or by hand.
check_verify() {
  local word finished faults=0 unchecked=0 path what first=''
  if systemctl is-failed --quiet lsyncd-verify.service; then
    problem verify-failed "the verification of the mirror was interrupted (systemctl status lsyncd-verify.service)"
  fi
  if [[ ! -r $verified ]]; then
    ok "lsyncd-verify has not run"
    return
  fi
  {
    IFS=$'\t' read -r word finished _ _ _ _ _ faults _ unchecked _
    IFS=$'\t' read -r _ path what && first=": $path: $what"
  } <"$verified"
  if [[ $word == finished && $finished$faults$unchecked =~ ^[0-9]+$ ]]; then
    measure verify_finished "$finished"
    measure verify_faults "$faults"
    measure verify_unchecked "$unchecked"
  fi
  if [[ $word != finished || ! $finished$faults$unchecked =~ ^[0-9]+$ ]]; then
    unknown verify "$verified cannot be read"
  elif ((faults > 0)); then
    problem verify "$faults faults in the mirror at $(date -d "@$finished" '+%F %T')$first. After fixing them, run lsyncd-verify again"
  elif ((unchecked > 0)); then
    problem verify-unchecked "$unchecked files of the mirror could not be verified at $(date -d "@$finished" '+%F %T')$first"
  else
    ok "lsyncd-verify found no fault at $(date -d "@$finished" '+%F %T')"
  fi
}
