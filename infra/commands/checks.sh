# Checks a host before anything is changed on it. Reads only; its time does not depend on the amount of
# data. The preflight runs it before a deployment and in previews, the activation once more, under its lock: minutes
# may lie between them, and a preflight that has passed is not run again when only the activation has failed.
# Variables: HOST ADDRESS PLACE ID SOURCE TARGET STATE CONFIG WAIVER_FILE SMTP REQUIRE_ENCRYPTION ACCEPT_VOLUMES
# LOG PACKAGES SYSTEM_DIRECTORIES and DEPLOYMENT, a digest of what is deployed. Sets source_id and target_id, and passed_over to what was waived.

# Seconds that a look into a directory may take before it counts as a finding, and that a package manager at work is
# waited for.
LOOK=30

waivers=" "
passed_over=
waived() {
  case "$waivers" in *" $1 "*) passed_over="$passed_over $1" ;; *) return 1 ;; esac
}

# The refusals that this run overrides: it leaves them in a file that counts only for this deployment, for an hour, until a reboot.
read_waivers() {
  [ -n "$(find "$WAIVER_FILE" -mmin -60 2>/dev/null)" ] || return 0
  [ "$(head -n 1 "$WAIVER_FILE")" = "$ID $DEPLOYMENT" ] && waivers=" $(tail -n +2 "$WAIVER_FILE" | tr '\n' ' ') "
}

# --- the host ---------------------------------------------------------------------------------------------------------

# Whether an operator has masked lsyncd. A mask of a runtime directory is the package step's own.
masked() { [ "$(readlink /etc/systemd/system/lsyncd.service)" = /dev/null ]; }

# Whether an operator has stopped lsyncd: it was deployed before, and is neither running nor waiting for a restart.
stopped_by_operator() {
  [ -e "$STATE/manifest" ] && [ ! -e "$STATE/reinstalled" ] && [ ! -e "$STATE/held" ] &&
    [ "$(systemctl show -p ActiveState --value lsyncd.service)" = inactive ]
}

# The message for an operator who has stopped lsyncd.
stays_stopped() {
  local how="systemctl start lsyncd"
  ! masked || how="systemctl unmask lsyncd && systemctl start lsyncd"
  printf 'lsyncd was stopped by an operator and stays stopped; start it with: %s' "$how"
}

check_host() {
  local program
  for program in apt-get dpkg-query findmnt blkid flock systemctl perl; do
    command -v "$program" >/dev/null || refuse "$program is missing: this is not a Debian system with systemd."
  done
  [ "$(id -u)" = 0 ] || refuse "The preflight must run as root, not as $(id -un)."
  # In the same places as lsyncd-alert.
  if [ "$SMTP" = false ] && ! command -v sendmail /usr/sbin/sendmail /usr/lib/sendmail >/dev/null; then
    warn "There is no sendmail and no setting smtp: no alert will be sent when the mirror fails."
  fi
  read_failover "$STATE/failover" "$SOURCE" "$TARGET"
  if [ "$failover_state" = in-use ]; then
    warn "The mirror is in use ($(failover_since "$STATE/failover")) and stays untouched: lsyncd will not start before \`lsyncd-failover end\`."
  elif [ "$failover_state" != mirroring ]; then
    warn "lsyncd will not start: $(failover_sentence "$STATE/failover")"
  elif [ -e "$STATE/held" ]; then
    warn "lsyncd will not start: $(head -n 1 "$STATE/held")"
  elif stopped_by_operator; then
    warn "$(stays_stopped)"
  elif masked; then
    refuse "lsyncd.service is masked, so it could not be started: systemctl unmask lsyncd"
  fi
}

# The process that holds a lock of the package manager: its id and name. apt and dpkg use locks of fcntl(2).
package_lock() {
  perl -MFcntl=:DEFAULT,:seek -e '
    for my $file (@ARGV) {
      open my $handle, "+<", $file or next;
      my $lock = pack "s s x4 q q i x4", F_WRLCK, SEEK_SET, 0, 0, 0;
      fcntl $handle, F_GETLK, $lock or next;
      my ($type, $pid) = (unpack "s s x4 q q i x4", $lock)[0, 4];
      if ($type != F_UNLCK) { print "$pid\n"; exit }
    }' /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/cache/apt/archives/lock /var/lib/apt/lists/lock
}

# Conditions that would make the installation of packages fail half-way.
check_packages() {
  local package missing=() holder waited=0 status version
  local -A installed=()
  # shellcheck disable=SC2086 # words
  while read -r package status version; do
    [ "$status" != installed ] || installed[$package]=$version
  done < <(dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' rsync $PACKAGES 2>/dev/null)
  check_rsync "${installed[rsync]-}"
  for package in $PACKAGES; do
    [ -n "${installed[$package]-}" ] || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  while holder=$(package_lock) && [ -n "$holder" ] && [ "$waited" -lt "$LOOK" ]; do
    sleep 1
    waited=$((waited + 1))
  done
  if [ -n "$holder" ]; then
    refuse "${missing[*]} must be installed, but the package manager is in use by process $holder ($(ps -o args= -p "$holder" 2>/dev/null | head -c 80)). Wait until it has ended, then try again."
  elif [ -n "$(dpkg --audit 2>/dev/null)" ]; then
    refuse "${missing[*]} must be installed, but the package manager was interrupted earlier. Fix it: dpkg --configure -a"
  fi
}

# Older ones follow a link that the application's user has put into a path while they work there, as root: files outside
# of the volumes became that user's within seconds (docs/decisions/0012-who-is-trusted.md).
SAFE_RSYNC=3.5

check_rsync() { # version
  [ -n "$1" ] || return 0
  if dpkg --compare-versions "$1" lt "$SAFE_RSYNC"; then
    warn "rsync $1 lets any user who can write to the volumes obtain root's files by swapping links. Upgrade it to $SAFE_RSYNC or newer: apt-get update && apt-get install rsync (on Debian 12 from bookworm-security)"
  fi
}

# --- the two volumes --------------------------------------------------------------------------------------------------

is_system() { # path
  local directory
  [ "$1" != / ] || return 0
  for directory in $SYSTEM_DIRECTORIES; do
    case "$1" in "$directory" | "$directory"/*) return 0 ;; esac
  done
  return 1
}

check_volume() { # role path
  local real inside devices mount_root mount_type mount_device mount_options
  if [ ! -e "$2" ]; then
    refuse "The $1 $2 does not exist. Create the mount point and mount the $1 volume there."
    return 1
  elif [ ! -d "$2" ]; then
    refuse "The $1 $2 is not a directory."
    return 1
  fi
  real=$(realpath -- "$2")
  if is_system "$real"; then
    refuse "The $1 $2 resolves to $real, a system directory."
    return 1
  elif [ "$real" != "$2" ]; then
    # A path through a link can be redirected without a change of the mounts.
    refuse "The $1 $2 is reached through a symbolic link to $real. Set $1 to that path."
    return 1
  elif ! mounted_at "$2"; then
    refuse "The $1 $2 is not mounted: it is a directory of the file system $(findmnt -n -o TARGET -T "$2"). Unlock and mount the $1 volume there."
    return 1
  fi
  mapfile -t devices < <(stat -c %d -- "$2" /)
  if [ "${devices[0]-}" = "${devices[1]-}" ] && is_system "$mount_root"; then
    refuse "The $1 $2 is $mount_root of the system's own file system (a bind mount)."
    return 1
  fi
  if ! writable "$2"; then
    refuse "The $1 $2 is mounted read-only. A file system that was remounted so after an error needs fsck first; otherwise: mount -o remount,rw $(quoted "$2")"
  fi
  if inside=$(mounted_inside "$2"); then
    refuse "$inside is mounted inside the $1 $2. It would be mirrored too: its files would be copied or deleted with the volume's own. Mount it elsewhere."
  fi
  check_encryption "$1" "$2"
}

check_encryption() { # role path
  local mount_device=
  ! encrypted "$2" || return 0
  local text="The $1 volume ($mount_device) is not on dm-crypt: its data is not encrypted."
  if [ "$REQUIRE_ENCRYPTION" = true ]; then
    refuse "$text Encrypt it, or set lsyncd:requireEncryption to false."
  else
    warn "$text"
  fi
  return 0
}

# Where the two directories are, whatever is mounted there.
check_places() {
  local source_real target_real real
  [ -d "$SOURCE" ] && [ -d "$TARGET" ] || return 0
  mapfile -t real < <(realpath -- "$SOURCE" "$TARGET")
  source_real=${real[0]-} target_real=${real[1]-}
  if [ "$source_real" = "$target_real" ]; then
    refuse "Source $SOURCE and target $TARGET are the same directory, $source_real."
  elif [[ $target_real == "${source_real%/}"/* ]]; then
    refuse "The target $TARGET ($target_real) is inside the source ($source_real): the mirror would mirror itself."
  elif [[ $source_real == "${target_real%/}"/* ]]; then
    refuse "The source $SOURCE ($source_real) is inside the target ($target_real): mirroring would delete the source."
  fi
}

check_pair() {
  local needed free file_system devices
  file_system=$(file_system_of "$source_id")
  mapfile -t devices < <(stat -c %d -- "$SOURCE" "$TARGET")
  if [ "$file_system" = "$(file_system_of "$target_id")" ] || [ "${devices[0]-}" = "${devices[1]-}" ]; then
    refuse "Source $SOURCE and target $TARGET are on the same file system ($file_system): losing one loses both. A cloned disk needs a new UUID."
  fi
  { read -r _; read -r needed _; read -r _ free; } < <(df -B1 --output=used,size -- "$SOURCE" "$TARGET")
  if [ "${needed:-0}" -gt "${free:-0}" ]; then
    refuse "The target $TARGET is too small: its size is $(numfmt --to=iec "$free"), the source uses $(numfmt --to=iec "$needed")."
  fi
}

# --- the owner of the data ---------------------------------------------------------------------------------------------------

recorded() { sed -n "s/^$1	//p" "$STATE/volumes" 2>/dev/null; }

# ACCEPT_VOLUMES has one a line: the directory of a subvolume or a bind mount, which is part of it, can hold blanks.
accepted() { # identity
  case $'\n'"$ACCEPT_VOLUMES"$'\n' in *$'\n'"$(accepted_as "$1")"$'\n'*) return 0 ;; *) return 1 ;; esac
}

# A volume as it is written into the settings, between double quotes.
for_settings() {
  local text
  text=$(accepted_as "$1")
  text=${text//\\/\\\\}
  printf '%s' "${text//\"/\\\"}"
}

# Whether a configuration is the one that this program has installed, unchanged.
is_ours() { # path
  local now hash path
  now=$(sha256sum -- "$1")
  now=${now%% *}
  while IFS=' ' read -r _ hash _ path; do
    if [ "$path" = "$1" ] && [ "$hash" = "$now" ]; then return 0; fi
  done < <(cat "$STATE/manifest" 2>/dev/null)
  return 1
}

# Whether the target is known to be the mirror of this very source. Refuses when it is known to be something else.
target_is_ours() {
  local role actual expected other owner=true config source target
  if [ -e "$STATE/id" ] && other=$(cat "$STATE/id") && [ "${other%/*}" != "${ID%/*}" ]; then
    refuse "This host was deployed by another stack, ${other%/*}. Destroy it there first; if that stack is lost, release the host by hand: rm $STATE/id
More: docs/operations.md#where-the-state-lives"
  elif [ -n "${other-}" ] && [ "$other" != "$ID" ] && [ -e "$STATE/place" ] && [ "$(cat "$STATE/place")" != "$PLACE" ]; then
    # Renamed, it would still be reached at the same place.
    refuse "This machine is already deployed as ${other##*/}, reached at $(cat "$STATE/place"): two entries would undo each other's deployments. Remove one of them. If ${other##*/} has become ${ID##*/} and its address another, both at once, release the host by hand: rm $STATE/place"
  fi
  [ -e "$STATE/volumes" ] || owner=false
  while IFS= read -r config; do
    is_ours "$config" && continue
    while IFS=$'\t' read -r source target; do
      if [ -z "$source$target" ]; then
        warn "The lsyncd configuration $config could not be read to its end: it has an error, or needs more than $READ_SECONDS s or $((READ_MEMORY / 1024)) MiB. If it mirrors to $TARGET, stop that lsyncd and remove the file."
      elif [ "${source%/}" = "$SOURCE" ] && [ "${target%/}" = "$TARGET" ]; then
        # If there is a record, it names the owner of the mirror.
        [ -e "$STATE/volumes" ] && continue
        owner=true
        warn "Taking over the mirror that $config has set up between the same volumes."
      else
        refuse "Another lsyncd configuration, $config, mirrors $source to $target. Stop that lsyncd and remove the file first, or set source and target to its own."
      fi
    done < <(syncs_of "$config")
  done < <(foreign_configs "$CONFIG")
  [ -e "$STATE/volumes" ] || {
    $owner
    return
  }
  for role in source target; do
    expected=$(recorded "$role")
    actual=$source_id
    [ "$role" = source ] || actual=$target_id
    [ "$actual" = "$expected" ] && continue
    # A new source leaves the mirror what it was, and the limit on deletions watches over it. A new target has
    # nothing of ours on it yet.
    [ "$role" = source ] || owner=false
    if [ "$actual" = "$(recorded source)" ] || [ "$actual" = "$(recorded target)" ]; then
      refuse "Source and target are swapped: $actual had the other role until now. Mirroring would overwrite the primary; mount them as before. To make the former mirror the primary, with an empty volume as its mirror, run on the host:
  sudo lsyncd-failover begin && sudo lsyncd-failover end --reverse
More: docs/replace-the-primary.md#7-or-the-mirror-stays-the-primary"
    elif ! accepted "$actual"; then
      refuse "The $role volume is not the one that was deployed: $actual instead of $expected. If it was replaced on purpose, add this to the stack:
  lsyncd:acceptVolumes: [\"$(for_settings "$actual")\"]"
    else
      warn "Accepting $actual as the $role volume in place of $expected."
    fi
  done
  $owner
}

# The stack's name, as `--stack` takes it: ID is organization/project/stack/host.
stack_name() {
  local stack=${ID%/*}
  quoted "${stack##*/}"
}

check_data() {
  local ours=false source_file target_file text t s
  target_is_ours && ours=true
  source_file=$(first_file "$SOURCE" "$LOOK") || { refuse "Reading the source $SOURCE took more than $LOOK s, or failed."; return; }
  target_file=$(first_file "$TARGET" "$LOOK") || { refuse "Reading the target $TARGET took more than $LOOK s, or failed."; return; }
  t=$(quoted "$TARGET/")
  s=$(quoted "$SOURCE/")
  if [ -z "$source_file" ] && [ -n "$target_file" ]; then
    text="The source $SOURCE is empty and the mirror is not (for example ${target_file#./}). Mirroring would delete what may be the only copy.
If the primary was replaced, restore it first (docs/replace-the-primary.md#6-return-to-a-new-primary):
  rsync -avP --sparse $t $s
If the mirror may really be emptied:
  LSYNCD_EMPTY_SOURCE_ERASES_MIRROR=true npm run up -- --stack $(stack_name)"
    if waived LSYNCD_EMPTY_SOURCE_ERASES_MIRROR; then
      warn "LSYNCD_EMPTY_SOURCE_ERASES_MIRROR=true overrides this: $text"
    else
      refuse "$text"
    fi
  elif [ -z "$source_file" ]; then
    warn "The source $SOURCE is empty: an empty directory would be mirrored."
  fi
  [ -n "$target_file" ] || return 0
  $ours && return
  text="The target $TARGET holds data (for example ${target_file#./}). Anything that is missing from the source would be deleted from it.
Look at it, and back it up if you may need it:
  ls -la $t
  du -sh $t
  rsync -avP --sparse $t /path/to/backup/
Then empty it, or let it be overwritten:
  LSYNCD_SKIP_SAFETY=true npm run up -- --stack $(stack_name)"
  if waived LSYNCD_SKIP_SAFETY; then
    warn "LSYNCD_SKIP_SAFETY=true overrides this: $text"
  else
    refuse "$text"
  fi
}

# --- what lsyncd needs from the kernel ----------------------------------------------------------------------------------

# Bytes of memory for each watched directory: the kernel's inode and watch, and lsyncd's own (inotify(7) and measured).
BYTES_PER_WATCH=1600

# Counts the directories of the source, up to a number, within the time limit.
count_directories() { # most
  (cd "$SOURCE" && timeout "$LOOK" find . -type d -printf . 2>/dev/null) | head -c "$1" | wc -c
}

check_watches() {
  local wanted limit directories key free most
  wanted=$(watches_wanted "$SOURCE")
  limit=$(watches_limit)
  if [ "$limit" -lt "$wanted" ] && [ ! -w "$WATCHES_FILE" ]; then
    # It cannot be raised here. Counting ends at the limit.
    directories=$(count_directories "$limit")
    if [ "$directories" -ge "$limit" ]; then
      refuse "The source has $limit directories or more, and fs.inotify.max_user_watches allows only $limit watches. It cannot be changed from here (a container?): raise it on the machine outside the container."
    else
      warn "fs.inotify.max_user_watches is $limit and cannot be raised from here (a container?). It is enough for the current $directories directories."
    fi
  fi
  while read -r key free _; do [ "$key" != MemAvailable: ] || break; done </proc/meminfo
  directories=$(inodes_used "$SOURCE")
  if [ $((directories * BYTES_PER_WATCH / 1024)) -gt "$free" ]; then
    # Only directories are watched, but all inodes could be directories: count before refusing.
    most=$((free * 1024 / BYTES_PER_WATCH))
    if [ "$(count_directories $((most + 1)))" -gt "$most" ]; then
      refuse "Watching the directories of the source needs more memory than the $((free / 1024)) MiB that are free."
    fi
  fi
}

# --- all of it ------------------------------------------------------------------------------------------------------------

# The message of a preflight that refuses nothing.
say_passed() { printf 'Preflight passed on %s (%s).\n' "$HOST" "$ADDRESS"; }

# Runs all checks and prints all findings. Returns 1 if there is a refusal.
check_all() {
  local both=true
  check_host
  check_packages
  check_volume source "$SOURCE" || both=false
  check_volume target "$TARGET" || both=false
  check_places
  check_neighbours
  check_users_lsyncd
  if $both; then
    if source_id=$(volume_identity "$SOURCE") && target_id=$(volume_identity "$TARGET"); then
      check_pair
      check_data
      check_watches
    else
      refuse "A volume was unmounted during the check. Mount both $SOURCE and $TARGET."
    fi
  fi
  if [ "${#warnings[@]}" -gt 0 ]; then
    printf 'Preflight warns about %s (%s):\n' "$HOST" "$ADDRESS"
    print_numbered "${warnings[@]}"
  fi
  [ "${#findings[@]}" -gt 0 ] || return 0
  printf 'Preflight refuses %s (%s), nothing was changed on it:\n' "$HOST" "$ADDRESS"
  print_numbered "${findings[@]}"
  echo "More: docs/troubleshooting.md#the-preflight-refuses"
  return 1
}
