# shellcheck shell=bash
# Undoes a deployment that did not come to its end. It serves the activation, when it fails or finds what an
# earlier one left, and lsyncd-undo, which the host runs by itself after a power cut.
# Variables: STATE, and NO_BLOCK when units must not be waited for

# What is needed to undo it, and in `phase` how far it is. Without that file nothing in force was touched.
TRANSACTION=$STATE/transaction
: "${NO_BLOCK:=}"
# The folder of our programs, beside which an activation makes it anew.
: "${LIBRARY:=/usr/local/lib/lsyncd-as-code}"
# What the state directory says of a deployment: kept before a swap, put back with the files.
RECORDS=(manifest bundled id place volumes allow-deletion held)

is_as_before() { # path
  [ ! -L "$TRANSACTION/old$1" ] && cmp -s "$TRANSACTION/old$1" "$1" &&
    [ "$(stat -c '%a %u %g' -- "$TRANSACTION/old$1")" = "$(stat -c '%a %u %g' -- "$1")" ]
}

# Puts the files back that were there, by rename. A link, where there can be one, takes no room on a full disk.
restore_files() {
  local path
  rm -rf -- "$LIBRARY.new"
  while IFS= read -r path; do rm -f -- "$path" "$path.new"; done <"$TRANSACTION/absent"
  [ -d "$TRANSACTION/old" ] || return 0
  while IFS= read -r -d '' path; do rm -f -- "${path#"$TRANSACTION/old"}.new"; done < <(find "$TRANSACTION/old" ! -type d -print0)
  while IFS= read -r -d '' path; do
    path=${path#"$TRANSACTION/old"}
    is_as_before "$path" && continue
    ln -PfT -- "$TRANSACTION/old$path" "$path.new" 2>/dev/null || cp -a -T -- "$TRANSACTION/old$path" "$path.new" || return 1
    sync -- "$path.new" && mv -fT -- "$path.new" "$path" && sync -- "${path%/*}" || return 1
  done < <(find "$TRANSACTION/old" ! -type d -print0)
}

restore_records() {
  local path
  for path in "${RECORDS[@]}"; do
    if [ -e "$TRANSACTION/$path.old" ]; then
      ln -PfT -- "$TRANSACTION/$path.old" "$STATE/$path.new" && mv -fT -- "$STATE/$path.new" "$STATE/$path" || return 1
    elif [ "$path" != volumes ]; then
      # Which volumes they are stays known: lsyncd may have begun to fill the target.
      rm -f "$STATE/$path"
    fi
  done
  sync -f "$STATE"
}

restore_units() {
  local unit
  systemctl daemon-reload
  for unit in lsyncd.service lsyncd-monitor.timer; do
    if grep -qx "enabled $unit" "$TRANSACTION/units.old"; then
      systemctl enable --quiet "$unit" 2>/dev/null
    else
      systemctl disable --quiet "$unit" 2>/dev/null
    fi
    if grep -qx "running $unit" "$TRANSACTION/units.old"; then
      systemctl ${NO_BLOCK:+--no-block} restart "$unit"
    else
      systemctl ${NO_BLOCK:+--no-block} stop "$unit" 2>/dev/null
      systemctl reset-failed "$unit" 2>/dev/null
    fi
  done
}

# Restores what was before the transaction, wherever it was interrupted. What cannot be restored stays to be restored
# later, and lsyncd does not start until it is.
roll_back() {
  if [ -e "$TRANSACTION/phase" ]; then
    # Emptied and not written, because a disk may be full: no start from here on.
    : >"$TRANSACTION/phase"
    if ! restore_files || ! restore_records; then
      printf '%s\n' "The interrupted deployment could not be undone, see above; lsyncd does not start until it is. Fix that, then run \`pulumi up\` again."
      return 1
    fi
    # First: what is restored may start.
    rm -f "$TRANSACTION/phase"
    sync "$TRANSACTION"
    restore_units
  fi
  rm -rf "$TRANSACTION"
}
