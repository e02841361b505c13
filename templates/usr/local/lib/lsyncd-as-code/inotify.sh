# shellcheck shell=bash
# The number of inotify watches that lsyncd needs, and the kernel's limit. The preflight compares them; the
# activation and lsyncd-watches, which the unit runs before each start, raise the limit.

# Every directory is an inode, so the inodes in use, plus room to grow, are enough; nothing has to be walked.
# File systems that create inodes on demand (btrfs, ZFS) report none; they get the minimum.
WATCHES_FLOOR=524288 # the limit that lsyncd's own manual and the documentation advise
WATCHES_FILE=/proc/sys/fs/inotify/max_user_watches
# This name sorts before other files, so a limit that is set elsewhere wins.
WATCHES_SYSCTL=/etc/sysctl.d/10-lsyncd-as-code.conf

# Prints the inodes in use on the file system of a path; 0 if it does not count them.
inodes_used() { # path
  local used=
  { read -r _; read -r used; } < <(df --output=iused -- "$1" 2>/dev/null)
  [[ $used =~ ^[0-9]+$ ]] || used=0
  printf '%s' "$used"
}

watches_wanted() { # path
  local used
  used=$(inodes_used "$1")
  used=$((used + used / 2))
  if [ "$used" -gt "$WATCHES_FLOOR" ]; then printf '%s' "$used"; else printf '%s' "$WATCHES_FLOOR"; fi
}

watches_limit() { printf '%s' "$(<"$WATCHES_FILE")"; }

# Raises the limit to what the volume at $1 needs, now and after each boot; never lowers it. Where it cannot be raised
# (a container) it stays as it is: the preflight has reported whether that suffices.
raise_watches() { # path
  local wanted
  wanted=$(watches_wanted "$1")
  [ "$(watches_limit)" -lt "$wanted" ] || return 0
  { printf '%s\n' "$wanted" >"$WATCHES_FILE"; } 2>/dev/null || return 0
  printf '# Written by "lsyncd as code": a watch for each directory of the mirrored volume.\nfs.inotify.max_user_watches = %s\n' \
    "$wanted" >"$WATCHES_SYSCTL.new" && mv "$WATCHES_SYSCTL.new" "$WATCHES_SYSCTL"
}
