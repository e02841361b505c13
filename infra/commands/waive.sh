# Says which refusals this run passes over.
# Variables: WAIVERS FILE
mkdir -p "${FILE%/*}" && printf '%s\n' "$WAIVERS" >"$FILE"
