# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# How lines begin by which rsync, rsync-wrapper, its modules and lsyncd-supervisor say what is not as it should be. They are nowhere but
# in the journal.
faults_begin='rsync( error)?: |IO error encountered|power cut: |no room in the mirror for |cannot delete |the mirror could not be synced|the generation was not raised'

# Those lines. Those between systemd's "Stopping" and "Started" are of a stop, and those of lsyncd itself hold names of files: it is known
# by the time it puts before a message. Each line comes with who wrote it, "[ 12.345678] HOST NAME[PROCESS]: ", which cannot appear in a
# file name.
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

check_journal() {
  local cursor='' last from
  if [[ -r $state/journal ]]; then read -r cursor <"$state/journal"; fi
  # At first: what this start of lsyncd said in the last minutes, because the first full copy is reported nowhere else.
  from=("_SYSTEMD_INVOCATION_ID=$(unit_is InvocationID)" --since=-10min)
  if [[ -n $cursor ]]; then from=(-u "$unit" --after-cursor="$cursor"); fi
  # It fails as well when there is nothing to show, but says nothing then.
  if ! journalctl --no-pager -q -n 5000 -o short-monotonic --show-cursor "${from[@]}" >"$work/journal.new" 2>"$work/journal.why" &&
    [[ -s $work/journal.why ]]; then
    put "$work/remember/journal" ""
    unknown journal "the journal could not be read on from where the last run ended: $(tail -n 1 "$work/journal.why")"
    return
  fi
  last=$(tail -n 1 "$work/journal.new")
  if [[ $last == "-- cursor: "* ]]; then put "$work/remember/journal" "${last#-- cursor: }"; fi
  cut -b 1-500 "$work/journal.new" >"$work/journal.cut"
  rsync_lines "$work/journal.cut" | cut -b 1-400 | grep -avE '\(code 24\)|^rsync: file has vanished' |
    tail -n 200 >"$work/journal.errors"
  report_errors "the journal" "$work/journal.errors"
}
