# Puts a deployment into force, all or nothing; `remove` takes it away again.
# Variables: those of checks.sh, and LIBRARY (the folder of our programs) LOG TEST_ALERT ALERTS KEPT (where the preflight has left files with secrets) STAGED (where
# files waited in earlier versions) CATALOGUE and the array `content`, the texts of the files by their paths
#   CATALOGUE: one line per managed file: mode, what to restart (lsyncd, monitor or none), `sent` or `kept`, path
set -u
exec </dev/null
export LC_ALL=C.UTF-8
# A cut connection must not end this half-way: it runs to its end and the next run sees what it did.
trap '' HUP PIPE

# Relative to the directory it starts in, the home directory of the user who logged in.
STAGED=$PWD/$STAGED
# The mark of all files with secrets, see index.ts: its change causes this run.
: "${SECRETS:=}"
# Its name beside the copies of what is in force.
MARK=secrets-mark
# The manifest of the deployment, a line per managed file: mode, SHA-256, what to restart, path. `collect` writes it.
MANIFEST=
# Seconds to wait for another run on this host, and for lsyncd to prove that it works.
LOCK_WAIT=300
PROOF=30
# The limit in seconds while it uses the processor: a slow machine is no failure.
PROOF_MOST=300
# Seconds that a first pass which takes longer must not have failed for.
STEADY=4

say() { printf '%s\n' "$*"; }
fail() {
  say "Activation on $HOST: $*"
  return 1
}
# Reminders that the operator should read even after success: only this output is shown then.
remind() { printf '%s\n' "$*" >&2; }

# The part of systemd's view that is restored when an activation fails.
enabled() { systemctl is-enabled --quiet "$1" 2>/dev/null; }
running() { systemctl is-active --quiet "$1" 2>/dev/null; }
# Also one that waits for a restart.
wanted() { case "$(systemctl show -p ActiveState --value "$1")" in inactive | failed) return 1 ;; *) return 0 ;; esac }

# Runs a function with each line of the manifest as arguments, as long as it succeeds.
each_file() {
  local mode hash restart path
  while IFS=' ' read -r mode hash restart path; do
    [ -n "$path" ] || continue
    "$1" "$mode" "$hash" "$restart" "$path" || return 1
  done <<<"$MANIFEST"
}

# --- collect: the new files, and what they are ------------------------------------------------------------------------

# Writes all files into the transaction, with their modes, and makes the manifest.
collect() {
  local mode restart from path new folder hash
  local news=() same sums=()
  local -A modes=() folders=()
  while IFS=' ' read -r mode restart from path; do
    folder=$TRANSACTION/new$path
    folders[${folder%/*}]=''
  done <<<"$CATALOGUE"
  mkdir -p -- "${!folders[@]}" || return 1
  while IFS=' ' read -r mode restart from path; do
    new=$TRANSACTION/new$path
    if [ "$from" = kept ]; then
      take_kept "$path" "$new" || return 1
    elif [ -n "${content[$path]+x}" ]; then
      printf '%s' "${content[$path]}" >"$new" || return 1
    else
      fail "$path did not arrive."
      return 1
    fi
    modes[$mode]+=$new$'\n'
    news+=("$new")
  done <<<"$CATALOGUE"
  for mode in "${!modes[@]}"; do
    mapfile -t same <<<"${modes[$mode]%$'\n'}"
    chmod -- "$mode" "${same[@]}" || return 1
  done
  mapfile -t sums < <(sha256sum -- "${news[@]}")
  [ "${#sums[@]}" -eq "${#news[@]}" ] || return 1
  while IFS=' ' read -r mode restart from path; do
    hash=${sums[0]%% *}
    sums=("${sums[@]:1}")
    MANIFEST+="$mode $hash $restart $path"$'\n'
  done <<<"$CATALOGUE"
  MANIFEST=${MANIFEST%$'\n'}
  DEPLOYMENT=$(printf '%s' "$MANIFEST" | sha256sum)
  DEPLOYMENT=${DEPLOYMENT:0:12}
  printf '%s\n' "$SECRETS" >"$TRANSACTION/new/$MARK"
}

# A file with a secret: from what the preflight left. The copy of what is in force is the same only under the same mark.
take_kept() { # path new
  local from=$KEPT/$ID$1
  if [ ! -f "$from" ] && [ "$(cat "$STATE/files/$MARK" 2>/dev/null)" = "$SECRETS" ]; then from=$STATE/files$1; fi
  if [ -f "$from" ]; then
    cp -- "$from" "$2"
    return
  fi
  fail "$1 is missing, although the preflight stores it. Send it again: npm run up -- --replace '**-preflight'"
}

# --- verify: each file by the program that will read it ----------------------------------------------------------------

verify_one() { # mode hash restart path
  local new=$TRANSACTION/new$4 copy output first=
  is_changed "$4" || return 0
  case "$4" in
  "$CONFIG" | *.lua)
    # lsyncd itself runs it and ends before it mirrors; the guard is not asked, it may not be installed yet, nor may its parts.
    copy=$TRANSACTION/check.lua
    {
      echo 'os.execute = function() return true end'
      echo "local installed = dofile; dofile = function(path) return installed(io.open('$TRANSACTION/new' .. path) and '$TRANSACTION/new' .. path or path) end"
      echo "dofile('$new')"
      echo 'os.exit(0)'
    } >"$copy"
    output=$(lsyncd -nodaemon "$copy" 2>&1) || fail "lsyncd refuses $4:"$'\n'"$output"
    ;;
  *.service | *.timer | *.conf)
    $units_verified || verify_units "$4" || return 1
    ;;
  *)
    IFS= read -r first <"$new"
    case "$first" in
    '#!/bin/bash'* | '#!/bin/sh'* | '# shellcheck shell=bash') output=$(bash -n "$new" 2>&1) || fail "bash refuses $4:"$'\n'"$output" ;;
    '#!/usr/bin/perl'*) output=$(perl -c "$new" 2>&1) || fail "perl refuses $4:"$'\n'"$output" ;;
    esac
    ;;
  esac
}

# All units at once, because each call of systemd-analyze costs a tenth of a second. If it finds a fault, each alone, to name its file.
units_verified=false
verify_all() {
  if verify_units "${changed_files[@]}" >/dev/null; then units_verified=true; fi
  each_file verify_one
}

verify_units() { # path...
  local folder=$TRANSACTION/units output path unit units=()
  rm -rf "$folder"
  mkdir -p "$folder" || return 1
  for path in "$@"; do
    unit=
    place_unit "$folder" "$path"
    [ -z "$unit" ] || units+=("$folder/$unit")
  done
  [ "${#units[@]}" -gt 0 ] || return 0
  output=$(systemd-analyze verify "${units[@]}" 2>&1) || { fail "systemd refuses $*:"$'\n'"$output"; return; }
  # Unknown settings and bad values are only warnings to it, but they are faults of ours.
  if printf '%s\n' "$output" | grep -F "$folder/"; then fail "systemd warns about $*, see above."; fi
}

# Copies a unit or drop-in for systemd-analyze, with what it belongs to. Sets `unit` to the unit's name; leaves it for other files.
place_unit() { # folder path
  local new=$TRANSACTION/new$2 name=${2##*/} to service
  # Our programs are not in place yet; whether they are is seen when the unit starts.
  local plain='s#/usr/local/(lib|bin)/[A-Za-z0-9./_-]*#/bin/true#g'
  case "$2" in
  /etc/systemd/system/*.d/*.conf)
    unit=${2%.d/*}
    unit=${unit##*/}
    to=$1/$unit.d/$name service=$unit
    mkdir -p "$1/$unit.d"
    ;;
  /etc/systemd/system/*)
    unit=$name
    to=$1/$name service=
    [ "${name##*.}" != timer ] || service=${name%.timer}.service
    ;;
  *) return 0 ;;
  esac
  sed -E "$plain" "$new" >"$to"
  # The service may be among the new files itself.
  [ -z "$service" ] || [ -e "$1/$service" ] || printf '[Service]\nExecStart=/bin/true\n' >"$1/$service"
}

# --- swap ---------------------------------------------------------------------------------------------------------------

changed_lsyncd=false
changed_monitor=false
changed_units=false
changed_files=()

# The phase of the transaction, for the guard and a later run. On the disk before anything else happens.
phase() {
  printf '%s\n' "$1" >"$TRANSACTION/phase.new" && sync "$TRANSACTION/phase.new" &&
    mv "$TRANSACTION/phase.new" "$TRANSACTION/phase" && sync "$TRANSACTION"
}

# Compares all files with what is in their places: two programs for all of them.
note_changes() {
  local mode hash restart path line
  local paths=()
  local -A now=() attributes=()
  while IFS=' ' read -r mode hash restart path; do paths+=("$path"); done <<<"$MANIFEST"
  while read -r hash path; do now[$path]=$hash; done < <(sha256sum -- "${paths[@]}" 2>/dev/null)
  while read -r mode line path; do attributes[$path]="$mode $line"; done < <(stat -c '%a %u:%g %n' -- "${paths[@]}" 2>/dev/null)
  while IFS=' ' read -r mode hash restart path; do
    if [ "${now[$path]-}" = "$hash" ] && [ "${attributes[$path]-}" = "${mode#0} 0:0" ]; then continue; fi
    changed_files+=("$path")
    is_unit "$path" && changed_units=true
    case "$restart" in
    lsyncd) changed_lsyncd=true ;;
    monitor) changed_monitor=true ;;
    esac
  done <<<"$MANIFEST"
}

is_unit() { case "$1" in /etc/systemd/system/*) return 0 ;; *) return 1 ;; esac } # path

back_up() { # path
  if [ -e "$1" ]; then
    mkdir -p "$TRANSACTION/old${1%/*}" && cp -a -- "$1" "$TRANSACTION/old$1"
  else
    printf '%s\n' "$1" >>"$TRANSACTION/absent"
  fi
}

is_changed() { # path
  local path
  for path in "${changed_files[@]}"; do [ "$path" != "$1" ] || return 0; done
  return 1
}

# Writes the files beside their places, and waits until they are on the disk: only renames remain.
prepare() {
  local mode path new=()
  local -A folders=()
  while IFS=' ' read -r mode _ _ path; do
    if is_changed "$path" && ! goes_together "$path"; then folders[${path%/*}]='' new+=("$path.new"); fi
  done <<<"$MANIFEST"
  [ "${#new[@]}" -gt 0 ] || return 0
  mkdir -p -- "${!folders[@]}" && each_file prepare_one && sync -- "${new[@]}"
}

prepare_one() { # mode hash restart path
  is_changed "$4" && ! goes_together "$4" || return 0
  # Without -T, which rust-coreutils does not have: so a directory of that name is handled first.
  [ ! -d "$4.new" ] && install -o root -g root -m "$1" -- "$TRANSACTION/new$4" "$4.new"
}

swap_one() { # mode hash restart path
  is_changed "$4" && ! goes_together "$4" || return 0
  mv -fT -- "$4.new" "$4"
}

# Programs that call each other are replaced at once: the folder with all of them is created beside the one in force, and the
# two are exchanged. The old directory stays for programs that are reading it, until this deployment has ended. The programs in
# /usr/local/bin and /usr/local/sbin only call a program there.
together=false
goes_together() { case "$1" in "$LIBRARY"/*) $together ;; *) return 1 ;; esac; } # path

# In a first deployment the folder is renamed. If no program changes, the renames of single files are enough.
prepare_library() {
  local path
  rm -rf -- "$LIBRARY.new" || return 1
  if [ -L "$LIBRARY" ] || { [ -e "$LIBRARY" ] && [ ! -d "$LIBRARY" ]; }; then return 0; fi
  for path in "${changed_files[@]}"; do case "$path" in "$LIBRARY"/*) together=true ;; esac; done
  $together || return 0
  cp -a -- "$TRANSACTION/new$LIBRARY" "$LIBRARY.new" && find "$LIBRARY.new" -type d -exec chmod 0755 -- {} + || return 1
  if ! keep_foreign 2>/dev/null; then
    together=false
    rm -rf -- "$LIBRARY.new"
  fi
}

# Puts what is neither of this deployment nor of the one before, so the operator's, into the new folder as well: as hard links, which
# need no space, and a program that writes to such a file goes on. One call of cp for each of our folders that has such entries.
# Fails where hard links are not possible.
keep_foreign() (
  shopt -s dotglob nullglob
  umask 022
  declare -A ours=(["$LIBRARY/settings"]='') folders=()
  while IFS=' ' read -r _ _ _ path; do
    [ -n "$path" ] || continue
    ours[$path]=''
    while [[ $path == "$LIBRARY"/* ]]; do
      path=${path%/*}
      ours[$path]='' folders[$path]=''
    done
  done <<<"$(cat "$STATE/manifest" 2>/dev/null)"$'\n'"$MANIFEST"
  for folder in "${!folders[@]}"; do
    if [ ! -d "$folder" ] || [ -L "$folder" ]; then continue; fi
    others=()
    for entry in "$folder"/*; do
      # With .new, what an interrupted deployment has left.
      [ -n "${ours[${entry%.new}]+x}" ] || others+=("$entry")
    done
    [ "${#others[@]}" -gt 0 ] || continue
    to=$LIBRARY.new${folder#"$LIBRARY"}
    mkdir -p -- "$to" && printf '%s\0' "${others[@]}" | xargs -0 cp -al -t "$to" -- || exit 1
  done
)

# Where folders cannot be exchanged, its files are renamed one by one as well.
swap_library() {
  if ! $together; then return 0; fi
  if [ ! -e "$LIBRARY" ]; then
    mkdir -p -- "${LIBRARY%/*}" && sync_tree "$LIBRARY.new" && mv -T -- "$LIBRARY.new" "$LIBRARY" && sync -- "${LIBRARY%/*}"
    return
  fi
  if exchange_library "$TRANSACTION/new"; then return 0; fi
  together=false
  rm -rf -- "$LIBRARY.new"
  prepare
}

# The folders of what was swapped, once each.
sync_folders() {
  local path
  local -A folders=()
  for path in "${changed_files[@]}"; do folders[${path%/*}]=; done
  [ "${#folders[@]}" -eq 0 ] || sync -- "${!folders[@]}"
}

# Files of the deployment before this one that this one does not have.
orphans() {
  if [ -e "$STATE/manifest" ]; then
    comm -23 <(cut -d ' ' -f 4- "$STATE/manifest" | sort) <(cut -d ' ' -f 4- <<<"$MANIFEST" | sort)
  else
    helpers_of_another
  fi
}

# Units for lsyncd's failure that only the drop-in of an earlier tool, which is about to be replaced, refers to.
helpers_of_another() {
  local unit path
  while IFS= read -r unit; do
    case "$unit" in *@*) unit=${unit%%@*}@.${unit##*.} ;; esac
    path=/etc/systemd/system/$unit
    if [ -f "$path" ] && grep -qi lsyncd "$path"; then printf '%s\n' "$path"; fi
  done < <(sed -n 's/^OnFailure=//p' /etc/systemd/system/lsyncd.service.d/override.conf 2>/dev/null | tr -s ' ' '\n')
}

swap() {
  local path orphaned
  orphaned=$(orphans)
  : >"$TRANSACTION/absent" || return 1
  while IFS= read -r path; do
    [ -z "$path" ] || back_up "$path" || return 1
  done < <(printf '%s\n' "${changed_files[@]}" "$orphaned")
  for path in "${RECORDS[@]}"; do
    if [ -e "$STATE/$path" ]; then cp -a "$STATE/$path" "$TRANSACTION/$path.old" || return 1; fi
  done
  {
    enabled lsyncd.service && echo enabled lsyncd.service
    wanted lsyncd.service && echo running lsyncd.service
    enabled lsyncd-monitor.timer && echo enabled lsyncd-monitor.timer
    wanted lsyncd-monitor.timer && echo running lsyncd-monitor.timer
  } >"$TRANSACTION/units.old"
  # Everything needed to undo the deployment is on the disk before it begins.
  find "$TRANSACTION" -path "$TRANSACTION/new" -prune -o -exec sync -- {} + || return 1
  # From here on lsyncd does not start until the swap is complete or undone, and this runs to its end.
  trap '' INT TERM
  phase swapping || return 1
  prepare_library && prepare || return 1
  # Nothing but renames from here on.
  swap_library && each_file swap_one && drop_settings_beside || return 1
  while IFS= read -r path; do
    # A timer without its file would stay in systemd's memory.
    case "$path" in /etc/systemd/system/*.timer) systemctl stop "${path##*/}" 2>/dev/null ;; esac
    [ -z "$path" ] || rm -f -- "$path"
    is_unit "$path" && changed_units=true
  done <<<"$orphaned"
  sync_folders || return 1
  record_volumes && phase proving
}

# Which volumes are mirrored, before lsyncd starts on them. Record the volumes that were checked, not those mounted now.
record_volumes() {
  printf 'source\t%s\ntarget\t%s\n' "$source_id" "$target_id" >"$STATE/volumes.new" || return 1
  if ! cmp -s "$STATE/volumes.new" "$STATE/volumes"; then changed_lsyncd=true; fi
  # The source that is accepted here may differ from the one that was mirrored last.
  if [ -n "$passed_over" ] || [ "$(recorded source)" != "$source_id" ]; then : >"$STATE/accept-source" || return 1; fi
  # An operator who overrides a refusal expects that the first pass deletes what only the target has.
  if [ -n "$passed_over" ]; then : >"$STATE/allow-deletion" || return 1; fi
  case "$passed_over" in *LSYNCD_EMPTY_SOURCE_ERASES_MIRROR*) rm -f "$STATE/held" ;; esac
  sync "$STATE/volumes.new" && mv "$STATE/volumes.new" "$STATE/volumes" && sync "$STATE"
}

# --- put into force -----------------------------------------------------------------------------------------------------

# Whether systemd must reload its units, which costs a dozen programs and a tenth of a second.
stale_units() {
  $changed_units || systemctl show -p NeedDaemonReload --value lsyncd.service lsyncd-monitor.timer lsyncd-monitor.service | grep -qx yes
}

# Enables both units and reloads systemd's, at most once. Each `systemctl enable` would reload them as well, up to three times for
# Debian's init script. Only a unit of ours can have another [Install] section than the one in force.
enable_units() {
  local reload=false
  if $changed_units || ! enabled lsyncd-monitor.timer; then
    systemctl enable --quiet --no-reload lsyncd-monitor.timer 2>&1 || return 1
    reload=true
  fi
  if $reload || stale_units; then systemctl daemon-reload || return 1; fi
  $operator_stopped || enabled lsyncd.service || systemctl enable --quiet lsyncd.service 2>&1
}

start() {
  local since=0
  enable_units || return 1
  if $changed_monitor || ! running lsyncd-monitor.timer; then
    systemctl restart lsyncd-monitor.timer || return 1
  fi
  read_failover "$STATE/failover" "$SOURCE" "$TARGET"
  if [ "$failover_state" != mirroring ] || [ -e "$STATE/held" ]; then
    remind "lsyncd on $HOST stays stopped: $({ failover_sentence "$STATE/failover"; cat "$STATE/held"; } 2>/dev/null | head -n 1)"
    return 0
  fi
  if $operator_stopped; then
    remind "$HOST: $(stays_stopped)"
    return 0
  fi
  if $changed_lsyncd || ! running lsyncd.service; then
    [ -e "$LOG" ] && since=$(stat -c %s "$LOG")
    # The unit that systemd makes of Debian's init script calls itself active without a process: restart, not start.
    systemctl restart lsyncd.service || return 1
    prove "$since"
  fi
}

# Sets `up` to the seconds since boot. SECONDS follows the clock, which can be set while lsyncd starts.
read_uptime() { read -r up </proc/uptime && up=${up%%.*}; }

# Has the service used the processor between two looks, by a tenth of a second? systemd may not count it.
works_on() { # nanoseconds before, nanoseconds now
  [[ $2 =~ ^[0-9]{1,18}$ ]] && [ $(($2 - $1)) -gt 100000000 ]
}

# lsyncd works when it has begun to mirror and the first pass has ended, or has not failed for a while: an rsync that
# refuses its options ends at once, and lsyncd with it.
prove() { # size of the log before the start
  local up start deadline pid began=0 new used=0 before now
  read_uptime
  start=$up deadline=$((up + PROOF))
  pid=$(systemctl show -p MainPID --value lsyncd.service)
  while [ "$up" -lt "$deadline" ]; do
    if [ -e "$STATE/held" ]; then
      remind "lsyncd on $HOST was deployed, and does not mirror: $(head -n 1 "$STATE/held")"
      return 0
    fi
    now=$(systemctl show -p MainPID -p ActiveState lsyncd.service)
    if [[ $now != *ActiveState=active* && $now != *ActiveState=reloading* || $'\n'$now$'\n' != *$'\n'"MainPID=$pid"$'\n'* ]]; then
      fail "lsyncd did not keep running."
      return 1
    fi
    new=$(tail -c "+$(($1 + 1))" "$LOG" 2>/dev/null)
    case "$new" in
    *"Startup of "*" finished."*) return 0 ;;
    *"recursive startup rsync: "*)
      # On a busy machine it has perhaps not begun yet.
      if [ "$began" -eq 0 ] || ! pgrep -x rsync >/dev/null; then began=$up; fi
      [ $((up - began)) -lt "$STEADY" ] || return 0
      ;;
    esac
    sleep 0.2
    read_uptime
    if [ "$up" -ge "$deadline" ] && [ $((up - start)) -lt "$PROOF_MOST" ]; then
      before=$used
      used=$(systemctl show -p CPUUsageNSec --value lsyncd.service)
      if works_on "$before" "$used"; then deadline=$((up + 10)); fi
    fi
  done
  fail "lsyncd did not begin to mirror within $((up - start)) s."
}

show_journal() {
  say "The last lines of its journal:"
  journalctl -u lsyncd.service -n 12 --no-pager -o cat 2>/dev/null | sed 's/^/  /'
}

# --- deploy and remove ----------------------------------------------------------------------------------------------

lock() {
  take_deployment_lock "$LOCK_WAIT" || fail "another run has been working on this host for more than $LOCK_WAIT s. Wait for it, then run \`npm run up\` again."
}

activate() {
  mkdir -p "$STATE" && chmod 0755 "$STATE" && lock || return 1
  if [ -e "$TRANSACTION/phase" ]; then
    say "An earlier deployment to $HOST was interrupted; undoing it first."
  fi
  roll_back || return 1
  if ! mkdir -m 0700 "$TRANSACTION" || ! collect; then
    rm -rf "$TRANSACTION"
    say "Nothing was changed on $HOST."
    return 1
  fi
  # Minutes may have passed since the preflight, with another deployment or another disk in them.
  read_waivers
  rm -f "$WAIVER_FILE"
  if ! check_all; then
    rm -rf "$TRANSACTION"
    return 1
  fi
  note_changes
  if ! verify_all; then
    rm -rf "$TRANSACTION"
    say "Nothing was changed on $HOST."
    return 1
  fi
  local operator_stopped=false first=false
  [ -e "$STATE/manifest" ] || first=true
  stopped_by_operator && operator_stopped=true
  raise_watches "$SOURCE"
  if ! in_force; then
    if ! swap; then
      undo
      return 1
    elif ! start; then
      show_journal
      undo
      return 1
    fi
  elif ! start; then
    show_journal
    rm -rf "$TRANSACTION"
    return 1
  fi
  if ! remember; then
    undo
    return 1
  fi
  rm -rf "$TRANSACTION" "$KEPT" "$LIBRARY.new"
  drop_earlier_lock
  if $first && [ "$TEST_ALERT" = true ]; then
    # A mail that cannot be sent does not undo a working mirror.
    lsyncd-monitor.sh --test-alert || warn_about_mail
  fi
}

undo() {
  if [ ! -e "$TRANSACTION/phase" ]; then
    rm -rf "$TRANSACTION"
    say "Nothing was changed on $HOST."
  elif roll_back; then
    say "$HOST runs its previous deployment again. More: docs/troubleshooting.md#a-deployment-is-undone"
  fi
}

# Whether there is nothing to swap: all files are correct, the volumes are the same, nothing is waived.
in_force() {
  [ "${#changed_files[@]}" -eq 0 ] && [ -e "$STATE/manifest" ] && [ -z "$(orphans)" ] && [ -z "$passed_over" ] &&
    [ "$(recorded source)" = "$source_id" ] && [ "$(recorded target)" = "$target_id" ]
}

warn_about_mail() {
  say "The test mail from $HOST could not be sent, see above. Fix it, then try again there: sudo lsyncd-monitor.sh --test-alert"
}

# Records the run that made this activation necessary without a changed setting, and the run of the first one here: the next look
# reports both (drift.ts).
remember_run() { # file
  if [ -z "$RUN" ]; then rm -f "$STATE/$1"; return; fi
  printf '%s\n' "$RUN" >"$STATE/$1.new" && mv "$STATE/$1.new" "$STATE/$1"
}

# Keeps a copy of what is in force: a later run takes from it what did not change. The last step ends the transaction.
remember() {
  rm -rf "$STATE/files.new" "$STATE/files"
  chmod 0700 "$TRANSACTION/new" && mv "$TRANSACTION/new" "$STATE/files" &&
    { [ -e "$STATE/manifest" ] || remember_run since; } &&
    printf '%s\n' "$MANIFEST" >"$STATE/manifest.new" && mv "$STATE/manifest.new" "$STATE/manifest" &&
    printf '%s\n' "$PLACE" >"$STATE/place.new" && mv "$STATE/place.new" "$STATE/place" &&
    : >"$STATE/bundled" &&
    printf '%s\n' "$ID" >"$STATE/id.new" && mv "$STATE/id.new" "$STATE/id" &&
    remember_run run &&
    # It runs again: from here on only an operator stops it.
    rm -f "$STATE/reinstalled" &&
    sync -f "$STATE" &&
    rm -f "$TRANSACTION/phase" && sync "$TRANSACTION"
}

deactivate() {
  local path folder
  lock || return 1
  if [ -e "$STATE/id" ] && [ "$(cat "$STATE/id")" != "$ID" ]; then
    say "$HOST is left unchanged: it now belongs to $(cat "$STATE/id")."
    return 0
  fi
  # Stops before anything is removed, so that nothing mirrors without its guard.
  systemctl disable --now --quiet lsyncd-monitor.timer 2>/dev/null
  systemctl stop lsyncd-monitor.service 2>/dev/null
  systemctl stop lsyncd.service 2>/dev/null
  if running lsyncd.service; then
    fail "lsyncd could not be stopped, so nothing was removed."
    return 1
  fi
  systemctl disable --quiet lsyncd.service 2>/dev/null
  while IFS= read -r path; do
    [ -n "$path" ] || continue
    rm -f -- "$path"
    # Not one that was there before, such as /usr/local/bin or a home, however empty.
    folder=${path%/*}
    while [[ $folder == *lsyncd* ]] && rmdir -- "$folder" 2>/dev/null; do folder=${folder%/*}; done
  done < <({ [ -e "$STATE/manifest" ] && cut -d ' ' -f 4- "$STATE/manifest"; cut -d ' ' -f 4- <<<"$CATALOGUE"; } | sort -u)
  systemctl daemon-reload
  systemctl reset-failed lsyncd.service 2>/dev/null
  rm -f -- "$LOG" "${LOG%.log}.status"
  rmdir --ignore-fail-on-non-empty -- "${LOG%/*}" 2>/dev/null
  rm -rf "$LIBRARY.new" "$TRANSACTION" "$STATE/files" "$STATE/manifest" "$STATE/id" "$STATE/place" "$STATE/run" "$STATE/since" "$STATE/bundled" "$KEPT"
  rm -rf "$STATE/reinstalled" "$STAGED"
  rmdir -p --ignore-fail-on-non-empty -- "${STAGED%/*}" 2>/dev/null
  rm -rf "$STATE/alerts" "$ALERTS" "$STATE/passes" "$STATE/held" "$STATE/allow-deletion" "$STATE/accept-source" "$STATE/entries" "$STATE/entries.altered" "$STATE/grants" "$STATE/grants.lock" "$STATE/failover" "$STATE/sqlite" "$WATCHES_SYSCTL"
  say "Removed from $HOST. Both volumes are unchanged; $STATE/volumes stays and records which they are."
}

# After a failure: names the file systems that are full, because each program says so of its own file alone.
name_full() {
  local path size blocks inodes all
  for path in "$STATE" /etc /usr/local; do
    read -r size blocks inodes all < <(stat -f -c '%S %f %d %c' -- "$path" 2>/dev/null) || continue
    if [ $((blocks * size)) -lt 1048576 ]; then
      say "On $HOST no space is left on the file system of $path. Free some, then run \`npm run up\` again."
      return
    # Some file systems have no number of inodes.
    elif [ "$all" -gt 0 ] && [ "$inodes" -lt 64 ]; then
      say "On $HOST no inodes are left on the file system of $path (df -i). Remove files, then run \`npm run up\` again."
      return
    fi
  done
}

# The stack's outputs: one line each.
report() {
  local key value unit=lsyncd
  local -A now=()
  # An empty line separates the units.
  while IFS='=' read -r key value; do
    if [ -n "$key" ]; then now[$unit.$key]=$value; else unit=timer; fi
  done < <(systemctl show -p ActiveState -p ActiveEnterTimestamp lsyncd.service lsyncd-monitor.timer)
  printf 'lsyncd: %s since %s\n' "${now[lsyncd.ActiveState]-}" "${now[lsyncd.ActiveEnterTimestamp]-}"
  printf 'timer: %s\n' "${now[timer.ActiveState]-}"
  printf 'version: %s\n' "$(lsyncd --version 2>/dev/null | sed -n 's/^Version: //p')"
}

main() { # install ["run" run] | remove
  RUN=
  [ "${2-}" != run ] || RUN=${3-}
  case "${1-}" in
  install)
    activate || {
      name_full
      return 1
    }
    report
    ;;
  remove) deactivate ;;
  *)
    fail "neither install nor remove was asked for: ${1-}"
    return 2
    ;;
  esac
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
main "$@"
