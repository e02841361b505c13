# Looks at a host before anything is changed on it.
# Variables: those of checks.sh. DEPLOYMENT makes it run again when anything changes. What this run passes over waits in
# WAIVER_FILE, which the activation takes away. A preview runs the same checks, see look.sh.
set -u
exec </dev/null
export LC_ALL=C.UTF-8

preflight() {
  read_waivers
  if ! check_all; then
    rm -f "$WAIVER_FILE"
    return 1
  fi
  say_passed
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
preflight
