# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# The beginnings of lines with which rsync, rsync-wrapper, its modules and lsyncd-supervisor report errors. Only the journal has
# these lines.
faults_begin='rsync( error)?: |IO error encountered|power cut: |no room in the mirror for |cannot delete |the mirror could not be synced|the generation was not raised'

# Prints those lines. Ignores lines between systemd's "Stopping" and "Started", which belong to a stop, and lsyncd's own, which
# contain file names; lsyncd is recognised by the time before its messages. Each line begins with its writer, "[ 12.345678] HOST
# NAME[PROCESS]: ", which cannot appear in a file name.
rsync_lines() {
  awk -v faults="^($faults_begin)" '
    match($0, /^\[ *[0-9.]+\] [^ ]+ [^ :]+: /) {
      split(substr($0, 1, RLENGTH), word, "] ")
      split(word[2], who, " ")
      writer[++lines] = who[2]
      line[lines] = substr($0, RLENGTH + 1)
      if (line[lines] ~ /^[0-9][0-9]:[0-9][0-9]:[0-9][0-9] [A-Z][a-z]+: /) lsyncd[writer[lines]] = 1
    }
    END {
      for (i = 1; i <= lines; i++) {
        if (writer[i] ~ /^systemd\[1\]/) {
          if (line[i] ~ /^Stopping /) stop = 1
          if (line[i] ~ /^(Started|Starting) /) stop = 0
          if (line[i] ~ /killed by the OOM killer/) print line[i]
        } else if (!stop && !(writer[i] in lsyncd) && line[i] ~ faults) print line[i]
      }
    }' "$1"
}

# Reports files that a pass left behind until a full pass has been complete (rsync-wrapper), because rsync's lines are read once.
left_behind() {
  local since
  if [[ ! -e $failover_mark ]] && since=$(stat -c %Y -- "$run_directory/left-behind" 2>/dev/null); then
    problem left-behind "since $(date -d "@$since" '+%F %T %z') no full pass has copied the files that one left behind; journalctl -u lsyncd has the reasons"
  fi
}

check_journal() {
  local cursor='' last from
  left_behind
  if [[ -r $state/journal ]]; then read -r cursor <"$state/journal"; fi
  # The first run reads the last minutes of this start of lsyncd, because only they report the first full copy.
  from=("_SYSTEMD_INVOCATION_ID=$(unit_is InvocationID)" --since=-10min)
  if [[ -n $cursor ]]; then from=(-u "$unit" --after-cursor="$cursor"); fi
  # It also fails if there are no entries, but prints no error then.
  if ! journalctl --no-pager -q -n 5000 -o short-monotonic --show-cursor "${from[@]}" >"$work/journal.new" 2>"$work/journal.why" &&
    [[ -s $work/journal.why ]]; then
    put "$work/remember/journal" ""
    unknown journal "the journal could not be read from the end of the last run: $(tail -n 1 "$work/journal.why")"
    return
  fi
  last=$(tail -n 1 "$work/journal.new")
  if [[ $last == "-- cursor: "* ]]; then put "$work/remember/journal" "${last#-- cursor: }"; fi
  cut -b 1-500 "$work/journal.new" >"$work/journal.cut"
  rsync_lines "$work/journal.cut" | cut -b 1-400 | grep -avE '\(code 24\)|^rsync: file has vanished' |
    tail -n 200 >"$work/journal.errors"
  report_errors "the journal" "$work/journal.errors"
}
