# Installs the packages that are missing and remembers them; `remove` takes away those that it installed.
# Variables: HOST ID STATE PACKAGES
set -u
exec </dev/null
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

# Seconds to wait for another package manager to finish.
apt_get() { apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_missing() {
  local missing=() package log
  for package in $PACKAGES; do
    installed "$package" || missing+=("$package")
  done
  if [ "${#missing[@]}" -eq 0 ]; then
    printf 'Packages on %s: %s are there.\n' "$HOST" "$PACKAGES"
    return 0
  fi
  mkdir -p "$STATE" || return 1
  # Remembered before they are installed, so that an interrupted run still knows what was not there.
  printf '%s\n' "${missing[@]}" >>"$STATE/packages"
  # Debian starts a service when it is installed; with a configuration left over from before that would mirror.
  systemctl mask --quiet --runtime lsyncd.service 2>/dev/null
  log=$(apt_get install --no-install-recommends "${missing[@]}" 2>&1) ||
    log=$({ apt_get update && apt_get install --no-install-recommends "${missing[@]}"; } 2>&1)
  local status=$?
  systemctl unmask --quiet --runtime lsyncd.service
  if [ "$status" -ne 0 ]; then
    printf 'Packages on %s: %s could not be installed. Look at its apt sources and network, then run pulumi up again.\n' "$HOST" "${missing[*]}"
    printf '%s\n' "$log" | tail -n 15
    return 1
  fi
  printf 'Packages on %s: installed %s.\n' "$HOST" "${missing[*]}"
}

remove_ours() {
  local ours=() package
  [ -e "$STATE/packages" ] || return 0
  if [ -e "$STATE/id" ] && [ "$(cat "$STATE/id")" != "$ID" ]; then
    printf 'Packages on %s are left alone: the host now belongs to %s.\n' "$HOST" "$(cat "$STATE/id")"
    return 0
  fi
  while IFS= read -r package; do
    installed "$package" && ours+=("$package")
  done < <(sort -u "$STATE/packages")
  if [ "${#ours[@]}" -gt 0 ]; then
    apt_get purge "${ours[@]}" >/dev/null || return 1
    printf 'Packages on %s: removed %s.\n' "$HOST" "${ours[*]}"
  fi
  rm -f "$STATE/packages"
}

case "${1-}" in
remove) remove_ours ;;
*) install_missing ;;
esac
