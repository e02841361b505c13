# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Seconds for which the mirror may be in use before an alert is sent: there is no second copy meanwhile.
failover_limit=86400

# Reports what is held, bypassed or switched off until it ends, so that it is visible here, in `npm run status` and in
# each mail while the mirror seems healthy. A pause of the alerts has its own line, see monitor.sh.
check_exceptions() {
  local count=0 since seconds
  read_failover "$failover_mark" "$lsyncd_source" "$lsyncd_target"
  measure failover "$failover_state"
  if [[ $failover_state != mirroring ]]; then
    count=1
    since=$(stat -c %Y -- "$failover_mark" 2>/dev/null) || since=$now
    seconds_since failover "$since"
    if ((seconds > failover_limit)); then
      problem failover-long "there has been no second copy for $((seconds / 86400)) d: $(failover_sentence "$failover_mark")"
    else
      held "$(failover_sentence "$failover_mark")"
    fi
  fi
  none_ahead failover
  if [[ -e $held_file ]]; then
    count=$((count + 1))
    held "nothing is mirrored: $(head -n 1 "$held_file")"
  fi
  if [[ -e $allow_file ]]; then
    count=$((count + 1))
    held "deletions are not counted until the next full pass ends: allowed at $(date -r "$allow_file" '+%F %T %z') (to end this: sudo rm $allow_file)"
  fi
  if [[ -e $accept_file ]]; then
    count=$((count + 1))
    held "the next pass takes the source as it is, also when it is older than its mirror: accepted at $(date -r "$accept_file" '+%F %T %z') (end it: sudo rm $accept_file)"
  fi
  if ((count == 0)); then ok "nothing is held, bypassed or switched off"; fi
}
