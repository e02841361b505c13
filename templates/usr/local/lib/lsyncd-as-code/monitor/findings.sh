# shellcheck shell=bash disable=SC2034,SC2154 # monitor.sh sets and reads them
# The output of checks, and the lines and mails made from it. Sourced by monitor.sh.

ok() { printf 'ok\t-\t%s\n' "$(one_line "$1")"; }

skipped() { printf 'skipped\t-\t%s\n' "$(one_line "$1")"; }

held() { printf 'held\t-\t%s\n' "$(one_line "$1")"; }

problem() { printf 'problem\t%s\t%s\n' "$(one_line "$1")" "$(one_line "$2")"; }

unknown() { printf 'unknown\t%s\t%s\n' "$(one_line "$1")" "$(one_line "$2")"; }

# measure NAME TEXT: prints a value of a check, for `npm run status` and the metrics; nothing if TEXT is empty.
measure() { if [[ -n $2 ]]; then printf 'value\t%s\t%s\n' "$1" "$(one_line "$2")"; fi; }

# seconds_since NAME TIME: sets `seconds` to the time since then. If TIME is in the future, because the clock was wrong when it was recorded,
# they count from when that was first seen under this name: otherwise no alert would be sent until TIME.
seconds_since() {
  local seen=$2
  if ((seen > now + 60)); then
    seen=$(number_in "$state/$1-ahead" "$now")
    ((0 < seen && seen <= now)) || seen=$now
    [[ -e $work/remember/$1-ahead ]] || put "$work/remember/$1-ahead" "$seen"
  fi
  seconds=$((now - seen))
}

# Forgets that, if no time in the future was seen in this run.
none_ahead() { # NAME
  if [[ -e $work/remember/$1-ahead || $(number_in "$state/$1-ahead" 0) == 0 ]]; then return; fi
  put "$work/remember/$1-ahead" 0
}

findings=()
unknowns=()
keys=()
# Texts about what is held, bypassed or switched off.
exceptions=()
# The lines of unhealthy checks, each after a newline.
found=
# The values that the checks measured, by name.
declare -A values=()
# The verdict of each check, and its line if that is not printed at once.
declare -A verdicts=() said=()
printing=1

# Prints a check's line and records its findings.
collect() {
  local name=$1 verdict key text line='' word=ok
  if [[ ${outcome[$name]:-} == hung ]]; then
    printf 'problem\thang: %s\tno answer within %s s: a dead disk, or a host under heavy load\n' "$name" "${waited[$name]:-$check_limit}" >"$work/$name.out"
  elif [[ ! -s $work/$name.out || ${outcome[$name]:-1} != 0 ]]; then
    printf 'unknown\t%s\tthe check failed: %s\n' "$name" "$(one_line "$(tail -n 1 "$work/$name.err" 2>/dev/null)")" >>"$work/$name.out"
  fi
  while IFS=$'\t' read -r verdict key text; do
    case $verdict in
    value)
      values[$key]=$text
      continue
      ;;
    problem)
      word=PROBLEM
      findings+=("$name: $text")
      keys+=("$key")
      ;;
    unknown)
      [[ $word == PROBLEM ]] || word=UNKNOWN
      unknowns+=("$name: $text")
      # Reported like a problem, or a blind monitor would go unnoticed.
      keys+=("unknown: $key")
      ;;
    held)
      if [[ $word == ok ]]; then word=held; fi
      if [[ $name == exceptions ]]; then exceptions+=("$text"); fi
      ;;
    skipped) if [[ $word == ok ]]; then word=skipped; fi ;;
    esac
    line+="${line:+; }$text"
  done <"$work/$name.out"
  verdicts[$name]=$word
  if ((printing)); then printf '%-8s %-9s %s\n' "$word" "$name" "$line"; else said[$name]=$line; fi
  if [[ $word == PROBLEM || $word == UNKNOWN || $name$word == exceptionsheld ]]; then found+=$'\n'"$word $name $line"; fi
}

# Prints the exceptions, which each mail lists until they end.
list_exceptions() {
  local line
  ((${#exceptions[@]} > 0)) || return 0
  printf '\nHELD, BYPASSED OR SWITCHED OFF\n'
  for line in "${exceptions[@]}"; do printf -- '- %s\n' "$line"; done
}

alert_of_problems() {
  local key fresh=0 due=0 line
  for key in "${keys[@]}"; do
    if [[ -z ${told[$key]:-} ]]; then
      fresh=1
      if recent "${recovered[$key]:-0}"; then put "$state/flapping" 1; fi
    elif ! recent "${told[$key]}"; then
      due=1
    fi
  done
  put "$state/last-trouble" "$now"
  # A repeat adds nothing while the last mail is still queued.
  if ((fresh == 0)) && { ((due == 0)) || waiting alert; }; then return 0; fi
  {
    for line in "${findings[@]}"; do printf -- '- %s\n' "$line"; done
    if ((${#unknowns[@]} > 0 && ${#findings[@]} > 0)); then printf '\nCOULD NOT BE CHECKED\n'; fi
    for line in "${unknowns[@]}"; do printf -- '- could not be checked: %s\n' "$line"; done
    list_exceptions
  } | "$alert" compose alert "$alert_subject" || return 1
  for key in "${keys[@]}"; do told["$key"]=$now; done
  save told
}

# A recovery is reported at once. If the same problem returns within an interval, the next recovery is reported only after
# an interval without problems, so "recovered" is reliable, and no mirror sends a mail at each run.
report_recovery() {
  local key
  ((${#told[@]} > 0)) || return 0
  if [[ -e $state/flapping ]] && recent "$(number_in "$state/last-trouble" 0)"; then return 0; fi
  {
    echo "- none: all checks are fine again."
    echo
    echo "Earlier alerts:"
    for key in "${!told[@]}"; do printf -- '- %s (%s)\n' "$key" "$(date -d "@${told[$key]}" '+%F %T')"; done
    list_exceptions
  } | "$alert" compose recovered "[RECOVERED] Lsyncd Health Check on $host" || return 1
  # Not `unset`: it would expand the key.
  for key in "${!recovered[@]}"; do recent "${recovered[$key]}" || recovered["$key"]=; done
  for key in "${!told[@]}"; do recovered["$key"]=$now; done
  save recovered
  rm -f "$state/told" "$state/flapping"
}

# Calls a dead man's switch (Healthchecks or similar): its URL if all is healthy, the URL + /fail otherwise.
# The URL is a secret, so curl reads it from stdin.
start_heartbeat() {
  local url=$1 suffix=$2
  if ! command -v curl >/dev/null; then
    echo "note     heartbeat curl is not installed, so no heartbeat is sent"
    return
  fi
  if [[ $url == *\?* ]]; then url="${url%%\?*}$suffix?${url#*\?}"; else url+=$suffix; fi
  url=${url//\\/\\\\}
  put "$work/heartbeat.conf" "url = \"${url//\"/\\\"}\""
  run_stdin=$work/heartbeat.conf
  # -q and -g: no ~/.curlrc, and no special meaning of { and [.
  start heartbeat curl -q -g -fsS -o /dev/null --connect-timeout 3 -m 4 -K -
  run_stdin=/dev/null
}
