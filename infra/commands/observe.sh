# Looks at what was deployed to a host and prints what differs from it, a line each: what, a tab, and how it differs.
# Reads only, and takes its time from nothing but the number of managed files.
# Variables: STATE SOURCE PACKAGES

found() { printf '%s\t%s\n' "$1" "$2"; }

observe_files() {
  local mode hash restart path actual
  while IFS=' ' read -r mode hash restart path; do
    [ -n "$path" ] || continue
    : "$restart"
    if [ ! -f "$path" ]; then
      found "$path" "is missing"
      continue
    fi
    if [ "$(sha256sum -- "$path" 2>/dev/null | cut -d ' ' -f 1)" != "$hash" ]; then found "$path" "has other content"; fi
    actual=$(stat -c '%a' -- "$path")
    if [ "$actual" != "${mode#0}" ]; then found "$path" "has mode 0$actual instead of $mode"; fi
    actual=$(stat -c '%U:%G' -- "$path")
    if [ "$actual" != root:root ]; then found "$path" "belongs to $actual instead of root:root"; fi
  done <"$STATE/manifest"
}

observe_packages() {
  local package
  for package in $PACKAGES; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      found "package $package" "is not installed"
    fi
  done
}

observe_units() {
  local unit enabled
  for unit in lsyncd.service lsyncd-monitor.timer; do
    enabled=$(systemctl is-enabled "$unit" 2>/dev/null)
    # Masked is what an operator does who wants it to stay off.
    if [ "$enabled" != enabled ] && [ "$enabled" != masked ]; then found "$unit" "is ${enabled:-not there}, not enabled"; fi
  done
  if ! systemctl is-active --quiet lsyncd-monitor.timer; then found lsyncd-monitor.timer "is not running"; fi
  # Stopped on purpose, by an operator or by a mark, is no drift: a deployment would leave it so.
  if [ -e "$STATE/failover" ] || [ -e "$STATE/held" ]; then return; fi
  if [ "$(systemctl show -p ActiveState --value lsyncd.service)" = failed ]; then
    found lsyncd.service "is dead ($(systemctl show -p Result --value lsyncd.service))"
  fi
}

observe_watches() {
  local wanted limit
  wanted=$(watches_wanted "$SOURCE")
  limit=$(watches_limit)
  # What cannot be raised from here (a container) is no drift.
  if [ "$limit" -lt "$wanted" ] && [ -w /proc/sys/fs/inotify/max_user_watches ]; then
    found fs.inotify.max_user_watches "is $limit, less than the $wanted that the source needs"
  fi
}

observe() {
  if [ ! -e "$STATE/manifest" ]; then
    found "$STATE" "does not say what was deployed"
    return
  fi
  observe_files
  observe_packages
  observe_units
  observe_watches
}
