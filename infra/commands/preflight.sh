# Looks at a host before anything is changed on it. Reads only; its time does not depend on the amount of data.
# Variables: HOST ADDRESS ID SOURCE TARGET STATE CONFIG WAIVER_FILE SMTP REQUIRE_ENCRYPTION ACCEPT_VOLUMES PACKAGES
# Arguments: `deployment` and its digest, so that it runs again when anything changes; `preview` and the waivers in one
set -u
exec </dev/null
export LC_ALL=C.UTF-8

# Seconds that a look into a directory may take before it counts as a finding.
LOOK=30

if [ "${3-}" = preview ]; then
  waivers=" ${*:4} "
else
  # Left by this very run, or a leftover of another: a waiver holds for the deployment it names, for ten minutes.
  waivers=
  if [ -n "$(find "$WAIVER_FILE" -mmin -10 2>/dev/null)" ]; then waivers=" $(sed -n "s/^$2 //p" "$WAIVER_FILE") "; fi
  rm -f "$WAIVER_FILE"
fi
waived() { case "$waivers" in *" $1 "*) return 0 ;; *) return 1 ;; esac }

# --- the host ---------------------------------------------------------------------------------------------------------

check_host() {
  local program missing=() package
  for program in apt-get dpkg-query findmnt blkid flock systemctl perl; do
    command -v "$program" >/dev/null || refuse "$program is missing: this is not a Debian system with systemd."
  done
  [ "$(id -u)" = 0 ] || refuse "The preflight runs as $(id -un), not as root."
  for package in $PACKAGES; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  if [ "${#missing[@]}" -gt 0 ] && [ -n "$(dpkg --audit 2>/dev/null)" ]; then
    refuse "${missing[*]} must be installed, but the package manager was interrupted earlier. Mend it: dpkg --configure -a"
  fi
  if [ "$SMTP" = false ] && [ ! -x /usr/sbin/sendmail ]; then
    warn "There is no sendmail and no setting smtp: nobody will be told when the mirror fails."
  fi
  if [ -e "$STATE/failover" ]; then
    warn "The mirror is in use ($(head -n 1 "$STATE/failover")) and stays untouched: lsyncd will not start before \`lsyncd-failover end\`."
  elif [ -e "$STATE/held" ]; then
    warn "lsyncd will not start: $(head -n 1 "$STATE/held")"
  elif [ -e "$STATE/manifest" ] && [ "$(systemctl show -p ActiveState --value lsyncd.service)" = inactive ]; then
    warn "lsyncd was stopped by an operator and stays stopped; start it with: systemctl start lsyncd"
  fi
}

# --- the two volumes --------------------------------------------------------------------------------------------------

check_volume() { # role path
  local real
  if [ ! -e "$2" ]; then
    refuse "The $1 $2 does not exist. Create the mount point and mount the $1 volume there."
  elif [ ! -d "$2" ]; then
    refuse "The $1 $2 is not a directory."
  elif ! volume_identity "$2" >/dev/null; then
    refuse "The $1 $2 is not mounted: it is a directory of the file system $(findmnt -n -o TARGET -T "$2"). Unlock and mount the $1 volume there."
  else
    real=$(realpath -- "$2")
    case "$real" in
    / | /bin* | /boot* | /dev* | /etc* | /lib* | /proc* | /root* | /run* | /sbin* | /sys* | /usr* | /var*)
      refuse "The $1 $2 is really $real, a directory of the system."
      return 1
      ;;
    esac
    if findmnt -n -o OPTIONS --mountpoint "$2" | tail -n 1 | grep -qE '(^|,)ro(,|$)'; then
      refuse "The $1 $2 is mounted read-only. A file system that was remounted so after an error needs fsck first; otherwise: mount -o remount,rw $(quoted "$2")"
    fi
    check_encryption "$1" "$2"
    return 0
  fi
  return 1
}

check_encryption() { # role path
  local device
  device=$(findmnt -n -v -o SOURCE --mountpoint "$2" | tail -n 1)
  lsblk -n -s -o TYPE -- "$device" 2>/dev/null | grep -qx 'crypt' && return
  lsblk -n -s -o TYPE -- "$device" 2>/dev/null | grep -q '[^a-z]crypt$' && return
  local text="The $1 volume ($device) is not on dm-crypt: its data is not encrypted."
  if [ "$REQUIRE_ENCRYPTION" = true ]; then
    refuse "$text Encrypt it, or set lsyncd:requireEncryption to false."
  else
    warn "$text"
  fi
}

check_pair() {
  local source_real target_real needed free
  source_real=$(realpath -- "$SOURCE")
  target_real=$(realpath -- "$TARGET")
  if [ "$source_real" = "$target_real" ]; then
    refuse "Source $SOURCE and target $TARGET are the same directory, $source_real."
  elif [[ $target_real == "$source_real"/* ]]; then
    refuse "The target $TARGET ($target_real) is inside the source ($source_real): the mirror would mirror itself."
  elif [[ $source_real == "$target_real"/* ]]; then
    refuse "The source $SOURCE ($source_real) is inside the target ($target_real): mirroring would delete the source."
  elif [ "${source_id%%/*}" = "${target_id%%/*}" ]; then
    refuse "Source $SOURCE and target $TARGET are on the same file system (${source_id%%/*}): losing one loses both. A disk that was copied bit by bit needs a UUID of its own."
  fi
  needed=$(df -B1 --output=used -- "$SOURCE" | tail -n 1 | tr -dc 0-9)
  free=$(df -B1 --output=size -- "$TARGET" | tail -n 1 | tr -dc 0-9)
  if [ "${needed:-0}" -gt "${free:-0}" ]; then
    refuse "The target $TARGET is too small: it has $(numfmt --to=iec "$free") in all, the source uses $(numfmt --to=iec "$needed")."
  fi
}

# --- whose data is it ---------------------------------------------------------------------------------------------------

recorded() { sed -n "s/^$1	//p" "$STATE/volumes" 2>/dev/null; }

accepted() { # identity
  case " $ACCEPT_VOLUMES " in *" ${1#UUID=} "*) return 0 ;; *) return 1 ;; esac
}

# Whether the target is known to be the mirror of this very source. Refuses when it is known to be something else.
target_is_ours() {
  local role actual expected other owner=true config source target
  if [ -e "$STATE/id" ] && other=$(cat "$STATE/id") && [ "${other%/*}" != "${ID%/*}" ]; then
    refuse "This host was deployed by another stack, ${other%/*}. Destroy it there first; if that stack is lost, release the host by hand: rm $STATE/id"
  fi
  if [ -e "$STATE/volumes" ]; then
    for role in source target; do
      expected=$(recorded "$role")
      actual=$source_id
      [ "$role" = source ] || actual=$target_id
      [ "$actual" = "$expected" ] && continue
      owner=false
      if [ "$actual" = "$(recorded source)" ] || [ "$actual" = "$(recorded target)" ]; then
        refuse "Source and target have changed places: $actual was the other one until now. Mirroring would overwrite the primary; mount them as they were."
      elif ! accepted "$actual"; then
        refuse "The $role volume is another one than was deployed: $actual instead of $expected. If it was replaced on purpose, add this to the stack:
  lsyncd:acceptVolumes: [\"${actual#UUID=}\"]"
      else
        # A new disk on the one side leaves the other what it was.
        owner=true
        warn "Accepting $actual as the $role volume in place of $expected."
      fi
    done
    $owner
    return
  fi
  owner=false
  while IFS= read -r config; do
    while IFS=$'\t' read -r source target; do
      if [ "${source%/}" = "$SOURCE" ] && [ "${target%/}" = "$TARGET" ]; then
        owner=true
        warn "Taking over the mirror that $config has set up between the same volumes."
      else
        refuse "Another lsyncd configuration, $config, mirrors $source to $target. Stop that lsyncd and remove the file first, or set source and target to its own."
      fi
    done < <(syncs_of "$config")
  done < <(foreign_configs "$CONFIG")
  $owner
}

# The first file below a directory, or nothing. Empty directories and lost+found do not count.
first_file() {
  (cd "$1" && timeout "$LOOK" find . -path ./lost+found -prune -o ! -type d -print -quit)
}

check_data() {
  local ours=false source_file target_file text t s
  target_is_ours && ours=true
  source_file=$(first_file "$SOURCE") || { refuse "Looking into the source $SOURCE took more than $LOOK s or failed."; return; }
  target_file=$(first_file "$TARGET") || { refuse "Looking into the target $TARGET took more than $LOOK s or failed."; return; }
  t=$(quoted "$TARGET/")
  s=$(quoted "$SOURCE/")
  if [ -z "$source_file" ] && [ -n "$target_file" ]; then
    text="The source $SOURCE is empty and the mirror is not (${target_file#./} for one). Mirroring would delete what may be the only copy.
If the primary was replaced, restore it first:
  rsync -avP $t $s
If the mirror may really be emptied:
  LSYNCD_EMPTY_SOURCE_ERASES_MIRROR=true pulumi up"
    if waived LSYNCD_EMPTY_SOURCE_ERASES_MIRROR; then
      warn "LSYNCD_EMPTY_SOURCE_ERASES_MIRROR=true passes over this: $text"
    else
      refuse "$text"
    fi
  elif [ -z "$source_file" ]; then
    warn "The source $SOURCE is empty: an empty directory would be mirrored."
  fi
  [ -n "$target_file" ] || return
  $ours && return
  text="The target $TARGET holds data (${target_file#./} for one). What is not in the source would be deleted from it.
Look at it and, where it is worth it, back it up:
  ls -la $t
  du -sh $t
  rsync -avP $t /path/to/backup/
Then empty it, or let it be overwritten:
  LSYNCD_SKIP_SAFETY=true pulumi up"
  if waived LSYNCD_SKIP_SAFETY; then
    warn "LSYNCD_SKIP_SAFETY=true passes over this: $text"
  else
    refuse "$text"
  fi
}

# --- what lsyncd needs from the kernel ----------------------------------------------------------------------------------

# Bytes of memory for each watched directory: the kernel's inode and watch, and lsyncd's own (inotify(7) and measured).
BYTES_PER_WATCH=1600

check_watches() {
  local wanted limit directories free
  wanted=$(watches_wanted "$SOURCE")
  limit=$(watches_limit)
  if [ "$limit" -lt "$wanted" ] && [ ! -w /proc/sys/fs/inotify/max_user_watches ]; then
    # It cannot be raised here. Counting ends at the limit.
    directories=$(cd "$SOURCE" && timeout "$LOOK" find . -type d 2>/dev/null | head -n "$limit" | wc -l)
    if [ "$directories" -ge "$limit" ]; then
      refuse "The source has $limit directories or more, and fs.inotify.max_user_watches allows to watch only $limit. It cannot be changed from here (a container?): raise it on the machine outside."
    else
      warn "fs.inotify.max_user_watches is $limit and cannot be raised from here (a container?). It suffices for the $directories directories of today."
    fi
  fi
  free=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
  directories=$(df --output=iused -- "$SOURCE" 2>/dev/null | tail -n 1 | tr -dc 0-9)
  if [ $((${directories:-0} * BYTES_PER_WATCH / 1024)) -gt "$free" ]; then
    # Only directories are watched, but all inodes could be directories: count before refusing.
    directories=$(cd "$SOURCE" && timeout "$LOOK" find . -type d 2>/dev/null | head -n $((free * 1024 / BYTES_PER_WATCH)) | wc -l)
    if [ $((directories * BYTES_PER_WATCH / 1024)) -ge "$free" ]; then
      refuse "Watching the directories of the source needs more than the $((free / 1024)) MiB of memory that are free."
    fi
  fi
}

check_host
both=true
check_volume source "$SOURCE" || both=false
check_volume target "$TARGET" || both=false
if $both; then
  source_id=$(volume_identity "$SOURCE")
  target_id=$(volume_identity "$TARGET")
  check_pair
  check_data
  check_watches
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
