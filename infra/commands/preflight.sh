# Looks at a host before anything is changed on it.
# Arguments: `deployment` and its digest, so that it runs again when anything changes; `preview` and the waivers in one.
# In a deployment they wait in WAIVER_FILE, which the activation takes away.
set -u
exec </dev/null
export LC_ALL=C.UTF-8

preflight() { # "deployment" digest ["preview" waivers…]
  DEPLOYMENT=$2
  if [ "${3-}" = preview ]; then waivers=" ${*:4} "; else read_waivers; fi
  if ! check_all; then
    rm -f "$WAIVER_FILE"
    return 1
  fi
  printf 'Preflight passed on %s (%s).\n' "$HOST" "$ADDRESS"
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
preflight "$@"
