# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Uses lsyncd's own count of watched directories: counting them takes longer the more there are.
check_watches() {
  local limit used
  if not_while_dead; then return; fi
  limit=$(number_in /proc/sys/fs/inotify/max_user_watches 0)
  used=$(grep -m 1 -a -oE '^Inotify watching [0-9]+' "$lsyncd_status" 2>/dev/null | tr -dc 0-9)
  measure watches "$used"
  measure watches_limit "$limit"
  if ((limit == 0)); then
    unknown watches "the kernel does not report its limit of inotify watches"
  elif [[ -z $used ]]; then
    ok "limit $limit; lsyncd has not reported yet how many it uses"
  elif ((used * 100 > limit * watch_limit)); then
    problem watches "lsyncd uses $used of $limit watches (over $watch_limit %): raise fs.inotify.max_user_watches; lsyncd stops when none is left"
  else
    ok "$used of $limit"
  fi
}
