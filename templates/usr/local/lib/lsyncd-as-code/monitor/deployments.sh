# shellcheck shell=bash disable=SC2034,SC2154 # monitor.sh sets and reads them
# Detects a deployment that is changing the host. Sourced by monitor.sh.

# A deployment (or an installation of packages) holds this lock while it replaces files and restarts lsyncd.
deployment_lock=/run/lsyncd-as-code/locks/deployment
# Seconds for which a deployment may keep the monitor from checking.
deployment_limit=600
deployment_text="a deployment changes this host, the next run checks it"

# Prints when the last deployment began; nothing if there was none since the boot.
last_deployment() {
  stat -c %.Y -- "$deployment_lock" 2>/dev/null
}

# Succeeds while a deployment runs, for a limited time: one that hangs must not silence the monitor.
deploying() {
  local since
  if [[ ! -e $deployment_lock ]] || flock -n -s "$deployment_lock" true; then
    rm -f "$run_dir/deploying"
    return 1
  fi
  since=$(number_in "$run_dir/deploying" "$(ticks)")
  put "$run_dir/deploying" "$since"
  (($(ticks) - since < deployment_limit * 100))
}

# No alert is sent while a host is being changed: the person who changes it sees what happens, and the next run checks.
hold_for_deployment() {
  printf '%-8s %-9s %s\n' held alerts "$deployment_text"
  note_run held
  finished=1
}
