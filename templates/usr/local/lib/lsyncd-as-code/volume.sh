# shellcheck shell=bash
# What identifies the volume mounted at a path. The same text serves the preflight, the activation and the
# guard on the host, so that all of them mean the same volume.

# Sets mount_root, mount_type and mount_device to what is mounted at $1, or returns 1 when nothing is. What counts is
# the mount that one really gets into: the mount table goes on naming a volume that a later mount over /mnt hides.
mounted_at() {
  local key value id=none point root rest
  [ -d "$1" ] || return 1
  { while read -r key value; do [ "$key" != mnt_id: ] || id=$value; done </proc/self/fdinfo/3; } 3<"$1" || return 1
  while read -r key _ _ root point rest; do
    [ "$key" = "$id" ] || continue
    # The kernel writes blanks and the like as \040.
    printf -v point '%b' "$point"
    printf -v mount_root '%b' "$root"
    rest=${rest#* - }
    mount_type=${rest%% *}
    rest=${rest#* }
    printf -v mount_device '%b' "${rest%% *}"
    # A path that leads elsewhere (a symbolic link) is not where the volume is.
    [ "$point" = "$1" ]
    return
  done </proc/self/mountinfo
  return 1
}

# Sets volume_id to the identity of the volume mounted at $1: its file system's UUID and, for a bind mount, the directory
# in it. Returns 1 when nothing is mounted there.
identify_volume() {
  local mount_root mount_type mount_device uuid
  mounted_at "$1" || return 1
  # Read from the device itself: caches can still describe the disk that was there before.
  uuid=$(blkid --probe --match-tag UUID --output value -- "$mount_device" 2>/dev/null)
  [ "$mount_root" != / ] || mount_root=
  if [ -n "$uuid" ]; then
    volume_id=UUID=$uuid$mount_root
  else
    volume_id=$mount_type:$mount_device$mount_root
  fi
}

# Prints that.
volume_identity() {
  local volume_id
  identify_volume "$1" && printf '%s\n' "$volume_id"
}

# Prints the file system that the volume of an identity is in: losing it loses every volume of it. A device's path has slashes of
# its own; those of a pool's dataset lead to the pool.
file_system_of() { # identity
  case "$1" in
  UUID=* | *:[!/]*) printf '%s\n' "${1%%/*}" ;;
  *) printf '%s\n' "$1" ;;
  esac
}

# Prints a volume as the setting acceptVolumes names it.
accepted_as() { printf '%s\n' "${1#UUID=}"; } # identity

# Sets mount_inside to the first mount point inside the directory $1, or returns 1 when there is none. rsync would cross into it.
find_mount_inside() {
  while read -r _ _ _ _ mount_inside _; do
    printf -v mount_inside '%b' "$mount_inside"
    [[ $mount_inside != "$1"/* ]] || return 0
  done </proc/self/mountinfo
  return 1
}

# Prints that.
mounted_inside() {
  local mount_inside
  find_mount_inside "$1" && printf '%s\n' "$mount_inside"
}

# Whether the volume mounted at $1 can be written to. A subvolume can be read-only by itself, whatever it is mounted with.
writable() {
  [ -w "$1" ] && ! findmnt -n -o OPTIONS --mountpoint "$1" | tail -n 1 | grep -qE '(^|,)ro(,|$)'
}

# Whether the volume mounted at $1 is on dm-crypt. Sets mount_device.
encrypted() {
  local mount_root mount_type
  mounted_at "$1" && lsblk -n -s -l -o TYPE -- "$mount_device" 2>/dev/null | grep -qx 'crypt'
}

# Prints the first file below a directory, or nothing. Empty directories, lost+found and what this program keeps there do
# not count. Returns 1 when it cannot be looked at within so many seconds.
first_file() { # directory seconds
  (cd "$1" && timeout "$2" find . \( -path ./lost+found -o -path ./.lsyncd-as-code -o -path ./.lsyncd-monitor-probe \) -prune -o ! -type d -print -quit)
}
