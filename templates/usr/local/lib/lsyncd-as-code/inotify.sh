# shellcheck shell=bash
# How many directories lsyncd has to watch, and what the kernel allows. It serves the preflight, which
# reads it, and what raises the limit: the activation, and the unit at each start (lsyncd-watches).

# Every directory is an inode: with room to grow, what a file system can need is known without walking it.
# File systems that make inodes as they go (btrfs, ZFS) report none; for them the floor has to do.
WATCHES_FLOOR=524288 # the limit that lsyncd's own manual and the documentation advise
WATCHES_FILE=/proc/sys/fs/inotify/max_user_watches
# Sorts before what others write: a higher limit that is set elsewhere wins.
WATCHES_SYSCTL=/etc/sysctl.d/10-lsyncd-as-code.conf

watches_wanted() { # path
  local used
  used=$(df --output=iused -- "$1" 2>/dev/null | tail -n 1 | tr -dc 0-9)
  used=$((${used:-0} + ${used:-0} / 2))
  if [ "$used" -gt "$WATCHES_FLOOR" ]; then printf '%s' "$used"; else printf '%s' "$WATCHES_FLOOR"; fi
}

watches_limit() { cat "$WATCHES_FILE"; }

# Raises the limit to what the volume at $1 needs, now and for the boots to come; never lowers it. Where it cannot be
# raised (a container) it stays as it is: the preflight has said whether that suffices.
raise_watches() { # path
  local wanted
  wanted=$(watches_wanted "$1")
  [ "$(watches_limit)" -lt "$wanted" ] || return 0
  { printf '%s\n' "$wanted" >"$WATCHES_FILE"; } 2>/dev/null || return 0
  printf '# Written by "lsyncd as code": a watch for each directory of the mirrored volume.\nfs.inotify.max_user_watches = %s\n' \
    "$wanted" >"$WATCHES_SYSCTL.new" && mv "$WATCHES_SYSCTL.new" "$WATCHES_SYSCTL"
}
