# Looks at a host before anything is changed on it.
# Arguments: `deployment` and its digest, so that it runs again when anything changes; in a preview, `preview` and the
# waivers. In a deployment they wait in WAIVER_FILE, which the activation takes away.
set -u
exec </dev/null
export LC_ALL=C.UTF-8

preflight() { # "deployment" digest ["preview" waivers…]
  DEPLOYMENT=$2
  shift 2
  if [ "${1-}" = preview ]; then
    shift
    waivers=" $* "
    check_all || return 1
  else
    read_waivers
    if ! check_all; then
      rm -f "$WAIVER_FILE"
      return 1
    fi
  fi
  printf 'Preflight passed on %s (%s).\n' "$HOST" "$ADDRESS"
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
preflight "$@"
