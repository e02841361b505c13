# shellcheck shell=bash
# Undoes an incomplete deployment. Used by the activation, when it fails or finds an earlier incomplete one, and by
# lsyncd-undo, which the host runs by itself after a power cut.
# Variables: STATE, and NO_BLOCK if units must not be waited for

# The data for an undo; `phase` records the progress. If `phase` is missing, no active file was changed.
TRANSACTION=$STATE/transaction
: "${NO_BLOCK:=}"
# The directory of the programs; an activation creates the new one beside it.
: "${LIBRARY:=/usr/local/lib/lsyncd-as-code}"
# Files of the state directory that belong to a deployment: saved before a swap, restored with the other files.
RECORDS=(manifest bundled id place volumes allow-deletion accept-source held)

is_as_before() { # path
  [ ! -L "$TRANSACTION/old$1" ] && cmp -s "$TRANSACTION/old$1" "$1" &&
    [ "$(stat -c '%a %u %g' -- "$TRANSACTION/old$1")" = "$(stat -c '%a %u %g' -- "$1")" ]
}

# Exchanges two folders, or fails where the kernel or the file system cannot: renameat2(2) with RENAME_EXCHANGE, by its number.
exchange() { # folder folder
  perl -MConfig -e '
    my $number = { x86_64 => 316, aarch64 => 276 }->{ $Config{archname} =~ s/-.*//sr } // exit 1;
    exit(syscall($number, -100, "$ARGV[0]", -100, "$ARGV[1]", 2) != 0)' -- "$@" 2>/dev/null
}

# Brings a folder with all that is in it to the disk. A link cannot be opened for that if it leads nowhere, and a FIFO has no data.
sync_tree() { find "$1" -depth \( -type f -o -type d \) -exec sync -- {} +; }

# Puts the folder of all programs that was made at $LIBRARY.new into force, at once, with the settings below the given folder beside
# them: its programs read these until /etc/lsyncd has the same (settings.sh). Fails if there is no way to do that.
exchange_library() { # folder
  local setting
  mkdir -m 0700 -- "$LIBRARY.new/settings" || return 1
  for setting in "$1"/etc/lsyncd/*.conf; do
    [ ! -e "$setting" ] || cp -p -- "$setting" "$LIBRARY.new/settings/" || return 1
  done
  sync_tree "$LIBRARY.new" && exchange "$LIBRARY.new" "$LIBRARY" && sync -- "${LIBRARY%/*}"
}

# Once /etc/lsyncd has them. A reader that finds one of them gone reads the same there.
drop_settings_beside() { rm -rf -- "$LIBRARY/settings"; }

# Restores the folder of all programs at once: made of the files in force, which need no space as hard links, and the previous ones.
# Where that is not possible, restore_files restores them one by one.
restore_library() {
  local path
  [ -d "$LIBRARY" ] && [ -d "$TRANSACTION/old$LIBRARY" ] || return 0
  cp -al -- "$LIBRARY" "$LIBRARY.new" && rm -rf -- "$LIBRARY.new/settings" || return 1
  while IFS= read -r path; do
    case "$path" in "$LIBRARY"/*) rm -f -- "$LIBRARY.new${path#"$LIBRARY"}" ;; esac
  done <"$TRANSACTION/absent"
  while IFS= read -r -d '' path; do
    path=${path#"$TRANSACTION/old$LIBRARY"}
    rm -f -- "$LIBRARY.new$path" && mkdir -p -- "$LIBRARY.new${path%/*}" || return 1
    ln -PT -- "$TRANSACTION/old$LIBRARY$path" "$LIBRARY.new$path" 2>/dev/null ||
      cp -a -T -- "$TRANSACTION/old$LIBRARY$path" "$LIBRARY.new$path" || return 1
  done < <(find "$TRANSACTION/old$LIBRARY" ! -type d -print0)
  exchange_library "$TRANSACTION/old"
}

# Restores the previous files by rename. A hard link, where possible, needs no space on a full disk.
restore_files() {
  local path
  rm -rf -- "$LIBRARY.new"
  restore_library 2>/dev/null
  rm -rf -- "$LIBRARY.new"
  while IFS= read -r path; do rm -f -- "$path" "$path.new"; done <"$TRANSACTION/absent"
  restore_old_files && drop_settings_beside
}

restore_old_files() {
  local path
  [ -d "$TRANSACTION/old" ] || return 0
  while IFS= read -r -d '' path; do rm -f -- "${path#"$TRANSACTION/old"}.new"; done < <(find "$TRANSACTION/old" ! -type d -print0)
  while IFS= read -r -d '' path; do
    path=${path#"$TRANSACTION/old"}
    is_as_before "$path" && continue
    ln -PfT -- "$TRANSACTION/old$path" "$path.new" 2>/dev/null || cp -a -T -- "$TRANSACTION/old$path" "$path.new" || return 1
    sync -- "$path.new" && mv -fT -- "$path.new" "$path" && sync -- "${path%/*}" || return 1
  done < <(find "$TRANSACTION/old" ! -type d -print0)
}

# Whether a permission that was there before has been used since: it is valid once.
was_used() { # record
  case "$1" in allow-deletion | accept-source) [ ! -e "$STATE/$1" ] ;; *) return 1 ;; esac
}

restore_records() {
  local path
  for path in "${RECORDS[@]}"; do
    if was_used "$path"; then
      continue
    elif [ -e "$TRANSACTION/$path.old" ]; then
      ln -PfT -- "$TRANSACTION/$path.old" "$STATE/$path.new" && mv -fT -- "$STATE/$path.new" "$STATE/$path" || return 1
    elif [ "$path" != volumes ]; then
      # The record of the volumes stays: lsyncd may have begun to fill the target.
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

# Restores the state before the transaction, at whatever point it was interrupted. If something cannot be restored, the
# data is kept for a later attempt, and lsyncd does not start until that succeeds.
roll_back() {
  if [ -e "$TRANSACTION/phase" ]; then
    # Truncated rather than written, because the disk may be full: lsyncd cannot start from here on.
    : >"$TRANSACTION/phase"
    if ! restore_files || ! restore_records; then
      printf '%s\n' "The interrupted deployment could not be undone, see above; lsyncd does not start until it is. Fix that, then run \`npm run up\` again."
      return 1
    fi
    # First, so that the restored units can start.
    rm -f "$TRANSACTION/phase"
    sync "$TRANSACTION"
    restore_units
  fi
  rm -rf "$TRANSACTION"
}
