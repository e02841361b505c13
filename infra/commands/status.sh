# Reports the health of a host's mirror: the monitor's current findings, and changes made by hand. Each line is a name, a tab and a
# text; those of the monitor are described in monitor.sh. Reads only.
# Variables: STATE PACKAGES MONITOR

status() {
  local said
  if [ ! -e "$STATE/manifest" ]; then
    printf 'deployed\tno\n'
    return
  fi
  printf 'deployed\tyes\n'
  # Output without this last line comes from another version.
  if said=$("$MONITOR" --status 2>&1) && [ "${said##*$'\n'}" = end ]; then
    printf '%s\n' "${said%$'\n'*}"
  else
    printf 'unasked\t%s\n' "$(head -n 1 <<<"$said" | cut -c 1-300 | tr '\t' ' ')"
  fi
  observe | sed 's/\t/ /; s/^/drift\t/'
  printf 'end\tyes\n'
}
