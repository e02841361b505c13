# How many directories lsyncd has to watch, and what the kernel allows. The same text serves the preflight, which
# reads it, and the activation, which raises the limit.

# Every directory is an inode: with room to grow, what a file system can need is known without walking it.
# File systems that make inodes as they go (btrfs, ZFS) report none; for them the floor has to do.
WATCHES_FLOOR=524288 # the limit that lsyncd's own manual and the documentation advise

watches_wanted() { # path
  local used
  used=$(df --output=iused -- "$1" 2>/dev/null | tail -n 1 | tr -dc 0-9)
  used=$((${used:-0} + ${used:-0} / 2))
  if [ "$used" -gt "$WATCHES_FLOOR" ]; then printf '%s' "$used"; else printf '%s' "$WATCHES_FLOOR"; fi
}

watches_limit() { cat /proc/sys/fs/inotify/max_user_watches; }
