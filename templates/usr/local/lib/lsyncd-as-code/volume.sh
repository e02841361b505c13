# shellcheck shell=bash
# Identifies the volume mounted at a path. The preflight, the activation and the host's guard share this file, so
# that all of them mean the same volume.

# Sets mount_root, mount_type, mount_device and mount_options to what is mounted at $1; returns 1 if nothing is. Uses the mount that
# opening the path reaches: the mount table still lists a volume that a later mount over /mnt hides.
mounted_at() {
  local key value id=none point root rest
  [ -d "$1" ] || return 1
  { while read -r key value; do [ "$key" != mnt_id: ] || id=$value; done </proc/self/fdinfo/3; } 3<"$1" || return 1
  while read -r key _ _ root point rest; do
    [ "$key" = "$id" ] || continue
    # The kernel escapes blanks and similar characters, as in \040.
    printf -v point '%b' "$point"
    printf -v mount_root '%b' "$root"
    mount_options=${rest%% *}
    rest=${rest#* - }
    mount_type=${rest%% *}
    rest=${rest#* }
    printf -v mount_device '%b' "${rest%% *}"
    # Those of the mount, and those of its file system.
    mount_options+=,${rest#* }
    # A symbolic link leads elsewhere: the volume is not mounted at this path.
    [ "$point" = "$1" ]
    return
  done </proc/self/mountinfo
  return 1
}

# Sets volume_id to the identity of the volume mounted at $1: its file system's UUID and, for a bind mount, the directory
# in it. Returns 1 if nothing is mounted there.
identify_volume() {
  local mount_root mount_type mount_device mount_options uuid
  mounted_at "$1" || return 1
  # Read from the device itself: caches can still describe the previous disk.
  uuid=$(blkid --probe --match-tag UUID --output value -- "$mount_device" 2>/dev/null)
  [ "$mount_root" != / ] || mount_root=
  if [ -n "$uuid" ]; then
    volume_id=UUID=$uuid$mount_root
  else
    volume_id=$mount_type:$mount_device$mount_root
  fi
}

# Prints that identity.
volume_identity() {
  local volume_id
  identify_volume "$1" && printf '%s\n' "$volume_id"
}

# Prints the file system that a volume (given by its identity) is on: losing it loses every volume on it. A device's path
# contains slashes itself; a dataset's name is cut at the first slash, which leaves the pool.
file_system_of() { # identity
  case "$1" in
  UUID=* | *:[!/]*) printf '%s\n' "${1%%/*}" ;;
  *) printf '%s\n' "$1" ;;
  esac
}

# Prints a volume in the form used by the setting acceptVolumes.
accepted_as() { printf '%s\n' "${1#UUID=}"; } # identity

# Sets mount_inside to the first mount point inside the directory $1; returns 1 if there is none. rsync would cross into it.
find_mount_inside() {
  while read -r _ _ _ _ mount_inside _; do
    printf -v mount_inside '%b' "$mount_inside"
    [[ $mount_inside != "$1"/* ]] || return 0
  done </proc/self/mountinfo
  return 1
}

# Prints that mount point.
mounted_inside() {
  local mount_inside
  find_mount_inside "$1" && printf '%s\n' "$mount_inside"
}

# Succeeds if the volume mounted at $1 is writable. A subvolume can be read-only whatever its mount options are.
writable() {
  local mount_root mount_type mount_device mount_options
  [ -w "$1" ] && mounted_at "$1" && [[ ,$mount_options, != *,ro,* ]]
}

# Succeeds if the volume mounted at $1 is on dm-crypt. Sets mount_device.
encrypted() {
  local mount_root mount_type mount_options
  mounted_at "$1" && [[ $'\n'$(lsblk -n -s -l -o TYPE -- "$mount_device" 2>/dev/null)$'\n' == *$'\n'crypt$'\n'* ]]
}

# Root's own directory at the root of a volume, and the one in a subvolume of the target, which hold no data of anybody's:
# LsyncdAsCode::Private.
# shellcheck disable=SC2034 # lsyncd-failover uses both
private_name=.lsyncd-as-code nested_name=.lsyncd-rsync.private

# Prints the first file below a directory, or nothing. Ignores empty directories, lost+found and this program's own
# files. Returns 1 if the directory cannot be searched within so many seconds.
first_file() { # directory seconds
  (cd "$1" && timeout "$2" find . \( -path ./lost+found -o -path "./$private_name" -o -path ./.lsyncd-monitor-probe -o -path './.lsyncd-wait.*' \) -prune -o ! -type d -print -quit)
}
