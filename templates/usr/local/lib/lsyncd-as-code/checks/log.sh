# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

mark_of() {
  head -c "$2" -- "$1" 2>/dev/null | cksum
}

# Prints the lines written to the log since the last run that have been rotated away.
rotated() {
  local inode=$1 offset=$2 head=$3 mark=$4 first=$lsyncd_log.1 older born read_at
  if [[ -r $first && $(stat -c %i -- "$first") == "$inode" && $(mark_of "$first" "$head") == "$mark" ]]; then
    tail -c "+$((offset + 1))" -- "$first"
    return
  fi
  # Rotated twice since: the rest of that file, and all of the next. Without its first bytes any file would match.
  for older in "$lsyncd_log".{1,2}.gz; do
    if ((head > 0)) && [[ $(zcat -- "$older" 2>/dev/null | head -c "$head" | cksum) == "$mark" ]]; then
      zcat -- "$older" | tail -c "+$((offset + 1))"
      break
    fi
  done
  # Rotated a moment ago: it is the file that is open, and is read by the caller.
  if [[ $(stat -c %i -- "$first" 2>/dev/null) == "$(stat -L -c %i -- /proc/self/fd/6)" ]]; then return; fi
  [[ -r $first ]] || return 0
  # All of it is new if it was created after the last run, or if the file that was read then was truncated and refilled.
  born=$(stat -c %.9W -- "$first") read_at=$(stat -c %.9Y -- "$state/log")
  if [[ $(stat -c %i -- "$first") == "$inode" ]] || ((10#${born//[!0-9]/} >= 10#${read_at//[!0-9]/})); then
    cat -- "$first"
  fi
}

# The lines of a log that are errors, of standard input. The stamp, because file names stand in the log at the start of
# lines, and may say anything. 24 (a file vanished while it was read) is what a living volume does: its deletion is an
# event of its own.
errors_of_log() {
  local stamp='^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4} '
  grep -aE "$stamp(Error: |Normal: (Retrying |--- OVERFLOW|Finished a list after exitcode: [1-9]))" |
    cut -b 1-400 | grep -avE 'Finished a list after exitcode: 24$'
}

# Reads new lines of lsyncd's log, at most 4 MiB, and never a line twice. The position is stored as inode number, first
# bytes and offset, so it survives rotation, truncation, and reuse of an inode number.
check_log() {
  local inode=0 offset=0 head=0 mark='' from size skipped=0 most=$((4 << 20)) chunk=$work/log.chunk cut log=/proc/self/fd/6
  # Any error, however old, for an operator on the host.
  measure last_error "$(tail -c 262144 -- "$lsyncd_log" 2>/dev/null | errors_of_log | tail -n 1)"
  # Opened once: it may be rotated while it is read.
  if ! exec 6<"$lsyncd_log"; then
    ok "there is no $lsyncd_log"
    return
  fi 2>/dev/null
  if [[ -r $state/log ]]; then read -r inode offset head mark <"$state/log"; fi
  size=$(stat -L -c %s -- "$log")
  : >"$chunk"
  if ! [[ $inode =~ ^[0-9]+$ && $offset =~ ^[0-9]+$ && $head =~ ^[0-9]+$ ]] || ((inode == 0)); then
    from=$size # no alert for lines from before the first run
  elif [[ $(stat -L -c %i -- "$log") == "$inode" && $(mark_of "$log" "$head") == "$mark" ]] && ((size >= offset)); then
    from=$offset
  else
    from=0
    rotated "$inode" "$offset" "$head" "$mark" | tail -c "$most" >"$chunk"
  fi
  if ((size - from > most)); then
    skipped=$((size - from - most))
    from=$((size - most))
  fi
  tail -c "+$((from + 1))" -- "$log" | head -c "$((size - from))" >>"$chunk"
  # An incomplete last line is left for the next run.
  if [[ -s $chunk && $(tail -c 1 "$chunk" | wc -l) -eq 0 ]]; then
    cut=$(tail -n 1 "$chunk" | wc -c)
    if ((cut < size - from)); then size=$((size - cut)) && truncate -s "-$cut" "$chunk"; fi
  fi
  errors_of_log <"$chunk" | tail -n 200 >"$work/log.errors"
  head=$((size < 256 ? size : 256))
  put "$work/remember/log" "$(stat -L -c %i -- "$log") $size $head $(mark_of "$log" "$head")"
  exec 6<&-
  report_errors "$lsyncd_log" "$work/log.errors"
  if ((skipped > 0)); then problem log-skipped "$lsyncd_log grew so fast that $skipped bytes of it were not read"; fi
}
