# The inspection of a host before anything is done: lists differences from the deployment and, in a
# preview, runs the preflight. Reads only.
# Arguments: none in a deployment; in a preview `preview` and the waivers, which in a deployment wait in WAIVER_FILE.
# Variables: those of observe.sh and ID; in a preview those of checks.sh as well
# Prints a line each, with a tab behind its first word: `run` and the run that
# the activation in force belongs to; `since` and the run of the first one there; `new` when nothing of this stack is
# deployed; `pass` and the seconds of a full pass, the last ten; `staged` and a path for each file of a deployment by a version that sent files one by one; for each difference `drift`, what and how; for a file with other content `line` and a line of the way back to
# what was deployed. Then `looked`, followed by the preflight's output.
set -u
exec </dev/null
export LC_ALL=C.UTF-8

# Limits: lines shown of a change, and bytes of a file that are compared.
MOST=60
MOST_BYTES=1000000

# A file that only root may read can hold a password.
shown_to_all() { # files
  local mode
  while IFS= read -r mode; do
    case "$mode" in *[4-7]) ;; *) return 1 ;; esac
  done < <(stat -c %a -- "$@" 2>/dev/null)
}

# The diff from a file's current content to the deployed one.
way_back() { # path
  local kept=$STATE/files$1
  [ -f "$kept" ] && [ "$(stat -c %s -- "$1")" -lt "$MOST_BYTES" ] || return 0
  if shown_to_all "$1" "$kept"; then
    diff -a -U 2 -- "$1" "$kept" | tail -n +3 | head -n "$MOST" | cut -c 1-400 | sed 's/^/line\t/'
  else
    printf 'line\t%s\n' "It may contain a password, so its lines are hidden."
  fi
}

# Whether the deployment here is this stack's: the host may have been reinstalled, or taken over by another stack.
ours() {
  local id
  [ -e "$STATE/manifest" ] && id=$(cat "$STATE/id") && [ "${id%/*}" = "${ID%/*}" ]
}

look() { # ["preview" waivers…]
  local word what how
  if ours; then
    for word in run since; do
      [ ! -e "$STATE/$word" ] || printf '%s\t%s\n' "$word" "$(cat "$STATE/$word")"
    done
    [ ! -e "$STATE/passes" ] || sed -En 's/^[0-9]+ ([0-9]{1,8})$/pass\t\1/p' "$STATE/passes" | tail -n 10
    [ -e "$STATE/bundled" ] || sed -E 's/^([^ ]+ ){3}/staged\t/' "$STATE/manifest"
    while IFS=$'\t' read -r what how; do
      printf 'drift\t%s\t%s\n' "$what" "$how"
      if [ "$how" = "has other content" ]; then way_back "$what"; fi
    done < <(observe)
  else
    echo new
  fi
  echo looked
  if [ "${1-}" != preview ]; then return 0; fi
  shift
  # shellcheck disable=SC2034 # for checks.sh
  waivers=" $* "
  check_all && say_passed
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
look "$@"
