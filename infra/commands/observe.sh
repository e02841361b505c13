# Compares a host with its deployment and prints one line per difference: the object, a tab, and the difference.
# Reads only; its duration depends only on the number of managed files. One program for all files, one for all
# packages, one for all units: the hosts of a fleet are inspected before every deployment.
# Variables: STATE SOURCE PACKAGES

found() { printf '%s\t%s\n' "$1" "$2"; }

observe_files() {
  local mode hash restart path line sums=
  local paths=()
  local -A modes=() attributes=() differs=()
  while IFS=' ' read -r mode hash restart path; do
    [ -n "$path" ] || continue
    : "$restart"
    paths+=("$path")
    modes[$path]=$mode
    if [ -f "$path" ]; then sums+="$hash  $path"$'\n'; fi
  done <"$STATE/manifest"
  while IFS= read -r line; do differs[${line%: FAILED*}]=true; done < <(sha256sum --check --quiet 2>/dev/null <<<"${sums%$'\n'}")
  while IFS=' ' read -r mode line path; do attributes[$path]="$mode $line"; done < <(stat -c '%a %U:%G %n' -- "${paths[@]}" 2>/dev/null)
  for path in "${paths[@]}"; do
    if [ ! -f "$path" ]; then
      found "$path" "is missing"
      continue
    fi
    if [ -n "${differs[$path]-}" ]; then found "$path" "has other content"; fi
    mode=${attributes[$path]%% *}
    if [ "$mode" != "${modes[$path]#0}" ]; then found "$path" "has mode 0$mode instead of ${modes[$path]}"; fi
    line=${attributes[$path]#* }
    if [ "$line" != root:root ]; then found "$path" "belongs to $line instead of root:root"; fi
  done
}

observe_packages() {
  local package status
  local packages=()
  local -A statuses=()
  read -ra packages <<<"$PACKAGES"
  while IFS=' ' read -r package status; do statuses[$package]=$status; done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null)
  for package in "${packages[@]}"; do
    if [ "${statuses[$package]-}" != installed ]; then found "package $package" "is not installed"; fi
  done
}

# Whether a unit starts at boot, as `systemctl is-enabled` prints it. A unit that systemd generates from an init script starts if
# the script is linked.
start_at_boot() { # name UnitFileState
  if [ "$2" != generated ]; then
    printf '%s' "${2:-missing}"
  elif compgen -G "/etc/rc[S5].d/S[0-9][0-9]$1" >/dev/null; then
    printf enabled
  else
    printf disabled
  fi
}

# As the checks before a deployment see it, see checks.sh.
stopped_on_purpose() { # ActiveState
  [ "$1" = inactive ] && [ ! -e "$STATE/reinstalled" ] && [ ! -e "$STATE/held" ]
}

observe_units() {
  local line at=0 boot
  local units=(lsyncd.service lsyncd-monitor.timer)
  local -A shown=()
  while IFS= read -r line; do
    # A blank line ends a unit.
    if [ -z "$line" ]; then at=$((at + 1)); else shown["${units[at]} ${line%%=*}"]=${line#*=}; fi
  done < <(systemctl show -p ActiveState -p Result -p UnitFileState "${units[@]}" 2>/dev/null)
  for line in "${units[@]}"; do
    # A service that an operator has stopped or masked stays so: a deployment does not change that.
    if [ "$line" = lsyncd.service ] && stopped_on_purpose "${shown[$line ActiveState]-}"; then continue; fi
    boot=$(start_at_boot "${line%.*}" "${shown[$line UnitFileState]-}")
    if [ "$boot" != enabled ] && [ "$boot" != masked ]; then found "$line" "is $boot, not enabled"; fi
  done
  if [ "${shown[lsyncd-monitor.timer ActiveState]-}" != active ]; then found lsyncd-monitor.timer "is not running"; fi
  # A mark holds it: neither would a deployment start it.
  if [ -e "$STATE/failover" ] || [ -e "$STATE/held" ]; then return; fi
  if [ "${shown[lsyncd.service ActiveState]-}" = failed ]; then
    found lsyncd.service "is dead (${shown[lsyncd.service Result]-})"
  fi
}

observe_watches() {
  local wanted limit
  wanted=$(watches_wanted "$SOURCE")
  limit=$(watches_limit)
  # A limit that cannot be raised from here (in a container) is no drift.
  if [ "$limit" -lt "$wanted" ] && [ -w /proc/sys/fs/inotify/max_user_watches ]; then
    found fs.inotify.max_user_watches "is $limit, less than the $wanted that the source needs"
  fi
}

observe() {
  if [ ! -e "$STATE/manifest" ]; then
    found "$STATE" "does not record what was deployed"
    return
  fi
  observe_files
  observe_packages
  observe_units
  observe_watches
}
