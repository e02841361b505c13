# Installs the packages that are missing and remembers them; `remove` takes away those that it installed.
# Variables: HOST ID STATE PACKAGES
set -u
exec </dev/null
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
# A cut connection must not interrupt the package manager.
trap '' HUP PIPE

# Seconds to wait for another package manager, and for another run on this host.
WAIT=300

apt_get() { apt-get -q -y -o "DPkg::Lock::Timeout=$WAIT" "$@"; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

lock() {
  take_deployment_lock "$WAIT" && return
  printf 'Packages on %s: another run has been working on this host for more than %s s. Wait for it, then deploy again: npm run up\n' "$HOST" "$WAIT"
  return 1
}

# Debian starts a service when it is installed; with a configuration left over from before that would mirror.
MASK=/run/systemd/system/lsyncd.service
unmask() { [ "$(readlink "$MASK")" != /dev/null ] || systemctl unmask --quiet --runtime lsyncd.service; }

# Records the missing packages and their dependencies, and installs them. They are recorded
# first, so an interrupted run still knows which packages were missing.
install() {
  local plan
  # "Inst name [old version] (new version …": one that is there already is only upgraded.
  plan=$(apt_get -s install --no-install-recommends "$@" 2>&1) || { printf '%s\n' "$plan"; return 1; }
  sed -nE 's/^Inst ([^ :]+)(:[^ ]+)? \(.*/\1/p' <<<"$plan" >>"$STATE/packages" && sync "$STATE/packages" || return 1
  apt_get install --no-install-recommends "$@" 2>&1
}

install_missing() {
  local missing=() package log status=0
  mkdir -p "$STATE" && lock || return 1
  # Left by a run that was killed.
  unmask
  for package in $PACKAGES; do
    installed "$package" || missing+=("$package")
  done
  if [ "${#missing[@]}" -eq 0 ]; then
    printf 'Packages on %s: %s are installed.\n' "$HOST" "$PACKAGES"
    return 0
  fi
  systemctl mask --quiet --runtime lsyncd.service 2>/dev/null
  log=$(install "${missing[@]}") || log=$(apt_get update 2>&1 && install "${missing[@]}") || status=1
  unmask
  if [ "$status" -ne 0 ]; then
    printf 'Packages on %s: %s could not be installed. Check its apt sources and network, then deploy again: npm run up\n' "$HOST" "${missing[*]}"
    printf '%s\n' "$log" | tail -n 15
    echo "More: docs/troubleshooting.md#packages-cannot-be-installed"
    return 1
  fi
  # Removing lsyncd has stopped it, which no operator did: the activation starts it again.
  case " ${missing[*]} " in *" lsyncd "*) [ ! -e "$STATE/manifest" ] || : >"$STATE/reinstalled" ;; esac
  printf 'Packages on %s: installed %s.\n' "$HOST" "${missing[*]}"
}

# The packages that apt would remove together with these, one name per line.
removed_with() { apt_get -s purge "$@" 2>/dev/null | sed -nE 's/^(Remv|Purg) ([^ :]+).*/\2/p' | sort -u; }

remove_ours() {
  local ours=() kept=() package again=true
  [ -e "$STATE/packages" ] || return 0
  if [ -e "$STATE/id" ] && [ "$(cat "$STATE/id")" != "$ID" ]; then
    printf 'Packages on %s are left alone: the host now belongs to %s.\n' "$HOST" "$(cat "$STATE/id")"
    return 0
  fi
  if [ -e "$STATE/manifest" ] || [ -e "$STATE/transaction/phase" ]; then
    printf 'Packages on %s: a deployment that was interrupted is still in force there, so nothing was removed. Complete it (npm run up), then destroy the stack (npm run destroy).\n' "$HOST"
    return 1
  fi
  lock || return 1
  while IFS= read -r package; do
    installed "$package" && ours+=("$package")
  done < <(sort -u "$STATE/packages")
  # Packages that others need by now stay.
  while $again; do
    again=false
    for package in "${ours[@]}"; do
      if [ -n "$(comm -13 <(printf '%s\n' "${ours[@]}" | sort) <(removed_with "$package"))" ]; then
        kept+=("$package")
        mapfile -t ours < <(printf '%s\n' "${ours[@]}" | grep -vxF -- "$package")
        again=true
        break
      fi
    done
  done
  if [ "${#ours[@]}" -gt 0 ]; then
    apt_get purge "${ours[@]}" >/dev/null || return 1
    printf 'Packages on %s: removed %s.\n' "$HOST" "${ours[*]}"
  fi
  [ "${#kept[@]}" -eq 0 ] || printf 'Packages on %s: %s stay, because other packages need them.\n' "$HOST" "${kept[*]}"
  rm -f "$STATE/packages"
}

main() {
  case "${1-}" in
  remove) remove_ours ;;
  *) install_missing ;;
  esac
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
main "$@"
