# Looks at a host before anything is changed on it. Reads only; its time does not depend on the amount of data.
# Variables: HOST ADDRESS SOURCE TARGET STATE SKIP_TOKEN SMTP
# Arguments: `deployment` and its digest, so that it runs again when anything changes; `skip-safety` in a preview
set -u
exec </dev/null
export LC_ALL=C.UTF-8

skip_safety=false
[ "${3-}" = skip-safety ] && skip_safety=true
# Left by this very run, or a leftover: a token older than ten minutes counts for nothing.
if [ -n "$(find "$SKIP_TOKEN" -mmin -10 2>/dev/null)" ]; then skip_safety=true; fi
rm -f "$SKIP_TOKEN"

# Seconds that a look into a directory may take before it counts as a finding.
LOOK=30

usable_directory() { # role path
  if [ ! -e "$2" ]; then
    refuse "The $1 $2 does not exist. Create the mount point and mount the $1 volume there."
  elif [ ! -d "$2" ]; then
    refuse "The $1 $2 is not a directory."
  elif ! volume_identity "$2" >/dev/null; then
    refuse "The $1 $2 is not mounted: it is a directory of the file system $(findmnt -n -o TARGET -T "$2"). Unlock and mount the $1 volume there."
  else
    return 0
  fi
  return 1
}

# The first file below a directory, or nothing. Empty directories and lost+found do not count.
first_file() {
  (cd "$1" && timeout "$LOOK" find . -path ./lost+found -prune -o ! -type d -print -quit)
}

for program in apt-get dpkg-query findmnt blkid flock systemctl; do
  command -v "$program" >/dev/null || refuse "$program is missing: this is not a Debian system with systemd."
done
[ "$(id -u)" = 0 ] || refuse "The preflight runs as $(id -un), not as root."

if [ "$SMTP" = false ] && [ ! -x /usr/sbin/sendmail ]; then
  warn "There is no sendmail and no setting smtp: nobody will be told when the mirror fails."
fi

source_ok=false
target_ok=false
usable_directory source "$SOURCE" && source_ok=true
usable_directory target "$TARGET" && target_ok=true

if $source_ok && $target_ok; then
  source_id=$(volume_identity "$SOURCE")
  target_id=$(volume_identity "$TARGET")
  if [ "${source_id%%/*}" = "${target_id%%/*}" ]; then
    refuse "Source $SOURCE and target $TARGET are on the same file system (${source_id%%/*}): losing one loses both."
  fi

  owned=false
  if [ -e "$STATE/volumes" ]; then
    recorded_source=$(sed -n 's/^source	//p' "$STATE/volumes")
    recorded_target=$(sed -n 's/^target	//p' "$STATE/volumes")
    [ "$recorded_source" = "$source_id" ] && [ "$recorded_target" = "$target_id" ] && owned=true
  fi

  source_file=$(first_file "$SOURCE") || refuse "Looking into the source $SOURCE took more than $LOOK s or failed."
  target_file=$(first_file "$TARGET") || refuse "Looking into the target $TARGET took more than $LOOK s or failed."
  if [ -z "$source_file" ]; then
    warn "The source $SOURCE is empty: an empty directory would be mirrored."
  fi
  if [ -n "$target_file" ] && ! $owned; then
    t=$(quoted "$TARGET/")
    text="The target $TARGET holds data (${target_file#./} for one). What is not in the source would be deleted from it.
Look at it and, where it is worth it, back it up:
  ls -la $t
  du -sh $t
  rsync -avP $t /path/to/backup/
Then empty it, or let it be overwritten:
  LSYNCD_SKIP_SAFETY=true pulumi up"
    if $skip_safety; then
      warn "LSYNCD_SKIP_SAFETY=true passes over this: $text"
    else
      refuse "$text"
    fi
  fi
fi

if [ "${#warnings[@]}" -gt 0 ]; then
  printf 'Preflight warns about %s (%s):\n' "$HOST" "$ADDRESS"
  tell "${warnings[@]}"
fi
if [ "${#findings[@]}" -gt 0 ]; then
  printf 'Preflight refuses %s (%s), nothing was changed on it:\n' "$HOST" "$ADDRESS"
  tell "${findings[@]}"
  exit 1
fi
printf 'Preflight passed on %s (%s).\n' "$HOST" "$ADDRESS"
