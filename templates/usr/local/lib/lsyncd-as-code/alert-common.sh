# shellcheck shell=bash disable=SC2034,SC2154 # settings.sh sets them, the programs that read this use them
# Code shared by lsyncd-monitor.sh and lsyncd-alert: settings, paths of the state, and functions that run a command
# without letting it block the caller. Both source this file; it is not a program.

# Variables: library, the folder of the programs, and parts (whole.sh)

# shellcheck source=/dev/null
for part in settings alert-state jobs; do source "$parts/$part.sh" || return; done
unset part

read_settings alerts 'recipient[]' 'alert_command[]' alert_user alert_interval:number mail_from mail_program msmtp_config heartbeat_url \
  source target log_file status_file failover_file state_directory run_directory

unit=lsyncd.service
recipients=("${recipient[@]}")
lsyncd_source=$source
lsyncd_target=$target
lsyncd_log=$log_file
lsyncd_status=$status_file
failover_mark=$failover_file
alert=$library/lsyncd-alert
message=$library/alert-message
kept_state=$state_directory/alerts
run_dir=$run_directory/alerts

export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077

# The time that all records use; tests set it to simulate a day.
now=${LSYNCD_MONITOR_NOW:-$EPOCHSECONDS}
host=$(uname -n)
host=${host//[!A-Za-z0-9._-]/-}

alert_subject="[ALERT] Lsyncd Health Check Failed on $host"

# Prints untrusted text (file names, log lines) as one line of at most 500 bytes, without control characters (those of
# UTF-8, C2 80 to C2 9F, also move the cursor of some terminals).
one_line() {
  local text=${1:0:500}
  text=${text//[$'\t\n\r']/ }
  text=${text//$'\xc2'[$'\x80'-$'\x9f']/?}
  printf '%s' "${text//[[:cntrl:]]/?}"
}

# Prints the number in the file $1, or $2 if the file holds none (a power loss can truncate a state file).
number_in() {
  local value=
  if [[ -r $1 ]]; then read -r value 2>/dev/null <"$1" || true; fi
  if [[ $value =~ ^[0-9]{1,15}$ ]]; then printf '%s' "$value"; else printf '%s' "$2"; fi
}

# Replaces a state file atomically: put FILE TEXT.
put() {
  printf '%s\n' "$2" >"$1.new" 2>/dev/null && mv -f "$1.new" "$1"
}

# Prints the time since boot in hundredths of a second; unlike the clock, it never jumps.
ticks() {
  local up
  read -r up _ </proc/uptime
  printf '%s' "$((10#${up/./}))"
}
