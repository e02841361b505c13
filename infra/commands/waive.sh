# Says which refusals this run passes over, for this deployment only.
# Variables: WAIVERS ID DEPLOYMENT FILE
mkdir -p "${FILE%/*}" && printf '%s %s\n%s\n' "$ID" "$DEPLOYMENT" "$WAIVERS" >"$FILE.new" && mv "$FILE.new" "$FILE"
