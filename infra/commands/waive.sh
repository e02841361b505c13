# Records the refusals that this run overrides, for this deployment only.
# Variables: WAIVERS ID DEPLOYMENT FILE SOURCE STATE

# A run without changes runs nothing else on the host. If the mirror is held because the source was emptied, and that same
# volume is mounted and empty, this releases it.
release() {
  local recorded
  [ -e "$STATE/held" ] && [ "$(cat "$STATE/id" 2>/dev/null)" = "$ID" ] || return 0
  [ "$(printf '%s' "$(cat "$STATE/manifest")" | sha256sum | head -c 12)" = "$DEPLOYMENT" ] || return 0
  recorded=$(sed -n 's/^source	//p' "$STATE/volumes")
  [ "$(volume_identity "$SOURCE")" = "$recorded" ] && [ -z "$(first_file "$SOURCE" 30 || echo unknown)" ] || return 0
  # An emptied source may have lost its generation as well.
  if [ "$(sed -n 2p "$STATE/held")" = older ]; then lsyncd-release --accept-source; fi
  lsyncd-release --ahead
}

waive() {
  mkdir -p "${FILE%/*}" && printf '%s %s\n%s\n' "$ID" "$DEPLOYMENT" "$WAIVERS" >"$FILE.new" && mv "$FILE.new" "$FILE" || return
  case $WAIVERS in *LSYNCD_EMPTY_SOURCE_ERASES_MIRROR*) release ;; esac
}

# The last line and the only one that does anything: a text that arrives cut short does nothing.
waive
