# Finds other programs on a host that work on the two volumes or on our log, and would undo or break the deployment. Reads only.
# Variables: those of checks.sh, and LOG. ROOT is empty on a host; a test has a directory of its own there.

NEIGHBOURS=${ROOT-}

# Whether the directory $2 is $1 or in it.
within() { [[ $2 == "$1" || $2 == "${1%/}"/* ]]; }

# Sets `lines` to the lines of a file that are no comments, without starting a program: a host has dozens of such files.
read_lines() {
  local line
  lines=()
  if [ ! -f "$1" ] || [ ! -r "$1" ]; then return 0; fi
  while IFS= read -r line || [ -n "$line" ]; do
    [[ $line =~ ^[[:space:]]*(#|$) ]] || lines+=("$line")
  done <"$1"
}

# logrotate reads all of its directory but these, and ends with an error when two entries name one file: then nothing at
# all is rotated that night.
check_logrotate() {
  local file line lines pattern patterns
  for file in "$NEIGHBOURS"/etc/logrotate.conf "$NEIGHBOURS"/etc/logrotate.d/*; do
    case "$file" in
    */lsyncd-as-code | *~ | *,v | *.bak | *.cfsaved | *.disabled | *.dpkg-* | *.rpm* | *.swp | *.ucf-*) continue ;;
    esac
    read_lines "$file"
    for line in "${lines[@]}"; do
      # The files of an entry stand before its brace, or on lines of their own.
      read -ra patterns <<<"${line%%\{*}"
      for pattern in "${patterns[@]}"; do
        pattern=${pattern//[\"\']/}
        # shellcheck disable=SC2053 # a pattern
        [[ $pattern == /* && $LOG == $pattern ]] || continue
        refuse "${file#"$NEIGHBOURS"} rotates $LOG as well: with two entries for one file, logrotate.service fails every night. Remove it: rm ${file#"$NEIGHBOURS"}"
        continue 3
      done
    done
  done
}

# Files that start programs automatically.
scheduled_files() {
  local file
  for file in "$NEIGHBOURS"/etc/crontab "$NEIGHBOURS"/etc/cron.*/* "$NEIGHBOURS"/var/spool/cron/crontabs/* "$NEIGHBOURS"/etc/systemd/system/*.service \
    "$NEIGHBOURS"/etc/supervisor/conf.d/* "$NEIGHBOURS"/etc/monit/conf*/* "$NEIGHBOURS"/etc/monit/monitrc; do
    case "$file" in */lsyncd.service | */lsyncd-*.service) continue ;; esac
    [ ! -f "$file" ] || printf '%s\n' "$file"
  done
}

# Whether a command line copies to the target: rsync's last word.
copies_to_target() { # line
  local word last='' words rest
  [[ $1 =~ (^|[[:space:]/\"\'=])rsync[[:space:]] ]] || return 1
  rest=${1#*rsync}
  read -ra words <<<"${rest%%[;&|]*}"
  for word in "${words[@]}"; do
    case "$word" in
    \>* | [0-9]\>* | \)*) break ;;
    esac
    last=$word
  done
  last=${last//[\"\'\;]/}
  within "$TARGET" "${last%/}"
}

check_schedules() {
  local file line lines name
  # lsyncd with a configuration or an option of its own; and what starts Debian's unit.
  local own_lsyncd='(^|[[:space:]=/"])lsyncd[[:space:]]+(-|/[^[:space:]]+\.(lua|conf))'
  local starts_unit='(systemctl|service|invoke-rc\.d|init\.d).*(start[^;&|]*lsyncd|lsyncd[^;&|]*start)'
  while IFS= read -r file; do
    name=${file#"$NEIGHBOURS"}
    read_lines "$file"
    for line in "${lines[@]}"; do
      if copies_to_target "$line"; then
        refuse "$name copies to the target as well: $line
lsyncd would delete what it copies, or it what lsyncd copies. Remove that line."
      elif [[ $line == *fsfreeze* && ($line == *"$SOURCE"* || $line == *"$TARGET"*) ]]; then
        warn "$name freezes a volume ($line): while it is frozen, nothing is mirrored, and an alert reports this."
      elif [[ $line =~ $own_lsyncd ]]; then
        refuse "$name starts a lsyncd of its own: $line
Two of them would work on the same files. Remove that line."
      elif [[ $line =~ $starts_unit ]]; then
        warn "$name starts lsyncd too: $line
What you stop would be started again. Its unit restarts it by itself, and the monitor reports it: remove that line."
      fi
    done
  done < <(scheduled_files)
}

# An index of all files walks both volumes every night.
check_updatedb() {
  local file=$NEIGHBOURS/etc/updatedb.conf pruned path
  [ -f "$file" ] || return 0
  pruned=" $(sed -nE 's/^[[:space:]]*PRUNEPATHS[[:space:]]*=[[:space:]]*"?([^"]*)"?.*/\1/p' "$file" | tr '\n\t' '  ') "
  for path in $pruned; do
    if within "$path" "$TARGET"; then return 0; fi
  done
  warn "updatedb indexes the mirror, so that locate finds each file twice. Add $TARGET to PRUNEPATHS in /etc/updatedb.conf."
}

# systemd-tmpfiles can remove old files in /run: locks and the state of alerts.
check_tmpfiles() {
  local type path age file
  for file in "$NEIGHBOURS"/etc/tmpfiles.d/*.conf "$NEIGHBOURS"/usr/lib/tmpfiles.d/*.conf; do
    if [ ! -f "$file" ] || [ ! -r "$file" ]; then continue; fi
    while read -r type path _ _ _ age _ || [ -n "$type" ]; do
      case "$type" in [dDevqQ]*) ;; *) continue ;; esac
      case "$age" in '' | -) continue ;; esac
      # shellcheck disable=SC2053 # a pattern
      if [[ $path == /run || $path == /run/lsyncd* || ($path == *[*?]* && /run/lsyncd-as-code == $path) ]]; then
        warn "${file#"$NEIGHBOURS"} makes systemd-tmpfiles remove files in $path that are older than $age: alerts would be repeated. Remove the age there."
      fi
    done <"$file"
  done
}

# Docker and containerd mount a file system for each container in their directory.
check_containers() {
  local root file role path
  while IFS=$'\t' read -r file root || [ -n "$root" ]; do
    for role in source target; do
      path=$SOURCE
      [ "$role" = source ] || path=$TARGET
      if within "$path" "$root"; then
        refuse "$file has containers kept in $root, inside the $role: each one that runs mounts a file system there, which would be mirrored too. Keep them elsewhere."
      fi
    done
  done < <(
    [ ! -f "$NEIGHBOURS"/etc/docker/daemon.json ] ||
      sed -nE 's#.*"data-root"[[:space:]]*:[[:space:]]*"([^"]*)".*#/etc/docker/daemon.json\t\1#p' "$NEIGHBOURS"/etc/docker/daemon.json 2>/dev/null
    [ ! -f "$NEIGHBOURS"/etc/containerd/config.toml ] ||
      sed -nE "s#^[[:space:]]*root[[:space:]]*=[[:space:]]*[\"']([^\"']*)[\"'].*#/etc/containerd/config.toml\t\1#p" "$NEIGHBOURS"/etc/containerd/config.toml 2>/dev/null
  )
}

# Whether names in a file system differ by case only as on every other. Prints nothing of one that is not ext4.
folds_case() { # device
  [[ $'\n'$(dumpe2fs -h -- "$1" 2>/dev/null) =~ $'\n''Filesystem features:'[^$'\n']*' casefold'([[:space:]]|$) ]]
}

# File systems that cannot be mirrored, or hold a mirror.
check_file_system() { # role path type device
  case "$3" in
  autofs)
    refuse "The $1 $2 is mounted on demand (x-systemd.automount, autofs): any access would mount it, even after you have unmounted it. Mount it without that option."
    ;;
  overlay | aufs)
    refuse "The $1 $2 is a layered file system ($3): changes below it raise no event. Use the underlying volume."
    ;;
  nfs | nfs4 | cifs | smb3 | 9p | ceph | glusterfs | afs | fuse.sshfs | fuse.glusterfs | virtiofs)
    refuse "The $1 $2 is on another machine ($3): changes there raise no event here. Both volumes must be local."
    ;;
  vfat | msdos | exfat | ntfs | ntfs3 | fuseblk | hfs | hfsplus | iso9660 | squashfs)
    refuse "The $1 $2 is $3, which does not preserve owners, modes and links. Use ext4, XFS or btrfs."
    ;;
  ext4)
    if folds_case "$4"; then
      refuse "The $1 $2 treats names that differ only in case as equal (ext4 with casefold): one of two such files would be lost. Create a file system without it."
    fi
    ;;
  esac
}

# A mount on demand lies below the one that it has made.
mounted_on_demand() { # path
  local point rest
  while read -r _ _ _ _ point rest; do
    printf -v point '%b' "$point"
    rest=${rest#* - }
    if [ "$point" = "$1" ] && [ "${rest%% *}" = autofs ]; then return 0; fi
  done <"${MOUNTINFO:-/proc/self/mountinfo}"
  return 1
}

check_file_systems() {
  # shellcheck disable=SC2034 # mounted_at sets all four
  local role path mount_root mount_type mount_device mount_options
  for role in source target; do
    path=$SOURCE
    [ "$role" = source ] || path=$TARGET
    if mounted_on_demand "$path"; then
      check_file_system "$role" "$path" autofs -
    elif mounted_at "$path"; then
      check_file_system "$role" "$path" "$mount_type" "$mount_device"
    fi
  done
}

check_neighbours() {
  check_logrotate
  check_schedules
  check_updatedb
  check_tmpfiles
  check_containers
  check_file_systems
}
