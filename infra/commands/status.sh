# Says how the mirror of a host is, a line for each thing: its name, a tab, and what it is. Reads only.
# Variables: STATE SOURCE TARGET LOG STATUS_FILE PACKAGES MONITOR

# Seconds for anything that asks a volume: a dead disk must not hold up the rest.
PATIENCE=8

tell() { printf '%s\t%s\n' "$1" "$2"; }
unit() { systemctl show --timestamp=unix -p "$2" --value "$1" 2>/dev/null; }
number() { grep -m 1 -aoE "$1" "$STATUS_FILE" 2>/dev/null | grep -oE '[0-9]+' | head -n 1; }
age_since() { [ -n "$1" ] && [ "$1" -gt 0 ] 2>/dev/null && echo $(($(date +%s) - $1)); }

status_service() {
  local since
  tell state "$(unit lsyncd.service ActiveState)"
  tell substate "$(unit lsyncd.service SubState)"
  since=$(unit lsyncd.service StateChangeTimestamp)
  tell since "${since#@}"
  tell restarts "$(unit lsyncd.service NRestarts)"
  for mark in failover held; do
    if [ -e "$STATE/$mark" ]; then tell held "$mark: $(head -n 1 "$STATE/$mark" | tr '\t' ' ')"; fi
  done
}

volume_now() {
  local expected actual
  expected=$(sed -n "s/^$1	//p" "$STATE/volumes" 2>/dev/null)
  actual=$(volume_identity "$2") || { echo "not mounted"; return; }
  if [ "$actual" != "$expected" ]; then echo "another volume ($actual)"; return; fi
  if findmnt -n -o OPTIONS --mountpoint "$2" | tail -n 1 | grep -qE '(^|,)ro(,|$)'; then echo read-only; else echo ok; fi
}

# The processes of lsyncd.service, one number a line.
processes() {
  local group root
  group=$(unit lsyncd.service ControlGroup)
  [ -n "$group" ] || return 0
  for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    if [ -r "$root$group/cgroup.procs" ]; then cat "$root$group/cgroup.procs" && return; fi
  done 2>/dev/null
}

# Seconds for which the oldest change has been waiting: since rsync has been at work on its list, or since a path that
# still waits was changed. A file that goes on changing counts from its last change.
behind() {
  local now pid path changed longest=0 seconds
  now=$(date +%s)
  for pid in $(processes); do
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = lsyncd ]; then continue; fi
    if [ "$pid" = "$(unit lsyncd.service MainPID)" ]; then continue; fi
    seconds=$(ps -o etimes= -p "$pid" 2>/dev/null | tr -dc 0-9)
    if [ "${seconds:-0}" -gt "$longest" ]; then longest=$seconds; fi
  done
  while IFS= read -r path; do
    changed=$(stat -c %Z -- "$SOURCE/$path" 2>/dev/null) || continue
    if [ $((now - changed)) -gt "$longest" ]; then longest=$((now - changed)); fi
  done < <(sed -nE '/^There are/,/^$/s/^(active|wait|block) +(Init|Create|Modify|Attrib|Move|Delete)[A-Za-z]* *//p' "$STATUS_FILE" 2>/dev/null | sed 's# -> .*##; /\/$/d' | head -n 50)
  echo "$longest"
}

status_mirror() {
  local backlog
  # lsyncd rewrites the file in place: it is empty or cut at moments.
  for _ in 1 2 3; do
    backlog=$(number '^There are [0-9]+ delays')
    [ -z "$backlog" ] || break
    sleep 0.3
  done
  tell backlog "$backlog"
  tell behind "$(behind)"
  tell watches "$(number '^Inotify watching [0-9]+')"
  tell watches-limit "$(watches_limit)"
  tell error "$(tail -c 262144 "$LOG" 2>/dev/null | grep -aE '^[A-Z][a-z]{2} [A-Z][a-z]{2} .{16} (Error: |Normal: (Retrying |--- OVERFLOW|Finished a list after exitcode: [1-9]))' | grep -avE 'exitcode: 24$' | tail -n 1 | cut -c 1-300 | tr '\t' ' ')"
}

status_memory() {
  local pid used=0 kilobytes
  for pid in $(processes); do
    kilobytes=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
    used=$((used + ${kilobytes:-0}))
  done
  tell memory $((used * 1024))
  tell memory-limit "$(unit lsyncd.service MemoryMax)"
}

status_disk() {
  local size used inodes
  read -r size used inodes < <(timeout "$PATIENCE" df -B1 --output=avail,pcent,ipcent -- "$TARGET" 2>/dev/null | tail -n 1 | tr -d %)
  tell disk-free "$size"
  tell disk "$used"
  tell inodes "$inodes"
}

# Each run of the monitor leaves its verdict, by whomever it was started: seconds since boot and its exit status, then the
# lines of what it found. One that was cut short leaves its mark; one that could not even begin, a failed unit.
status_monitor() {
  local up at='' verdict='' ended lines='' line since
  read -r up _ </proc/uptime
  up=${up%.*}
  if [ -r "$MONITOR/verdict" ]; then
    read -r at verdict <"$MONITOR/verdict"
    lines=$(tail -n +2 "$MONITOR/verdict" | cut -c 1-300 | tr -s ' \t' ' ')
  fi
  ended=$(unit lsyncd-monitor.service ExecMainExitTimestampMonotonic)
  ended=$((${ended:-0} / 1000000))
  if [ "$(unit lsyncd-monitor.service Result)" != success ] && [ "$ended" -gt $((${at:-0} + 5)) ]; then
    at=$ended verdict=failed lines=''
  elif [ -e "$MONITOR/running" ] && flock -n -s "$MONITOR/monitor.lock" true; then
    verdict=failed lines=''
  fi
  tell timer "$(unit lsyncd-monitor.timer ActiveState)"
  since=$(unit lsyncd-monitor.timer ActiveEnterTimestamp)
  tell timer-age "$(age_since "${since#@}")"
  tell monitor-age "${at:+$((up - at))}"
  tell monitor "$verdict"
  while IFS= read -r line; do tell monitor-says "$line"; done <<<"$lines"
  tell paused "$(paused_until)"
}

# When the pause of the alerts ends; nothing when there is none. While /var cannot be written, it is noted in /run.
paused_until() {
  local file from until now
  now=$(date +%s)
  for file in "$MONITOR/state/paused" "$STATE/alerts/paused"; do
    [ -r "$file" ] || continue
    read -r from until <"$file"
    if [ "$from" -le "$now" ] && [ "$now" -lt "$until" ]; then date -d "@$until" '+%F %T %z' && return; fi
  done 2>/dev/null
}

status() {
  if [ ! -e "$STATE/manifest" ]; then
    tell deployed no
    return
  fi
  tell deployed yes
  status_service
  tell source "$(volume_now source "$SOURCE")"
  tell target "$(volume_now target "$TARGET")"
  status_mirror
  status_memory
  status_disk
  status_monitor
  observe | sed 's/\t/ /; s/^/drift\t/'
  tell end yes
}
