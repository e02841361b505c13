# Says which refusals one deployment may pass over.
# Variables: DEPLOYMENT WAIVERS FILE
mkdir -p "${FILE%/*}" && printf '%s %s\n' "$DEPLOYMENT" "$WAIVERS" >"$FILE"
