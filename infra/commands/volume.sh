# What identifies the volume mounted at a path. The same text serves the preflight, the activation and the
# guard on the host, so that all of them mean the same volume.

# Prints the identity of the volume mounted at $1: its file system's UUID and, for a bind mount, the directory
# in it. Prints nothing and returns 1 when nothing is mounted there.
volume_identity() {
  local line type root device uuid
  line=$(findmnt --noheadings --nofsroot --output FSTYPE,FSROOT --mountpoint "$1" 2>/dev/null | tail -n 1)
  [ -n "$line" ] || return 1
  type=${line%% *}
  root=${line#"$type"}
  root=${root#"${root%%[! ]*}"}
  device=$(findmnt --noheadings --nofsroot --output SOURCE --mountpoint "$1" | tail -n 1)
  # Read from the device itself: caches can still describe the disk that was there before.
  uuid=$(blkid --probe --match-tag UUID --output value -- "$device" 2>/dev/null)
  [ "$root" = / ] && root=
  if [ -n "$uuid" ]; then
    printf 'UUID=%s%s\n' "$uuid" "$root"
  else
    printf '%s:%s%s\n' "$type" "$device" "$root"
  fi
}

# Prints the first mount point inside the directory $1, or returns 1 when there is none. rsync would cross into it.
mounted_inside() {
  local point
  while read -r _ _ _ _ point _; do
    # The kernel writes blanks and the like as \040.
    printf -v point '%b' "$point"
    if [[ $point == "$1"/* ]]; then
      printf '%s\n' "$point"
      return 0
    fi
  done </proc/self/mountinfo
  return 1
}
