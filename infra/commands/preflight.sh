# Checks a host before anything is changed on it.
# Variables: those of checks.sh, and KEPT (where files with secrets wait for the activation) with the array `kept`. DEPLOYMENT
# makes it run again when anything changes. The refusals that this run overrides are in WAIVER_FILE, which the activation takes away. A
# preview runs the same checks, see look.sh.
set -u
exec </dev/null
export LC_ALL=C.UTF-8
# Nothing here reads it: its change causes this run, see index.ts.
: "${SECRETS-}"

preflight() {
  read_waivers
  if ! check_all; then
    rm -f "$WAIVER_FILE"
    return 1
  fi
  keep_secrets && say_passed
}

# Files with secrets do not travel with the others, whose lines a preview shows. Only root reads them here.
keep_secrets() {
  local path folder=$KEPT/$ID
  rm -rf "$folder"
  [ -n "${kept[*]+x}" ] && [ "${#kept[@]}" -gt 0 ] || return 0
  mkdir -p "$STATE" && chmod 0755 "$STATE" && mkdir -p "$KEPT" && chmod 0700 "$KEPT" || return 1
  for path in "${!kept[@]}"; do
    (umask 077 && mkdir -p "$folder${path%/*}" && printf '%s' "${kept[$path]}" >"$folder$path") || return 1
  done
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
preflight
