# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Reports files that the last full pass left out because the target has no room for them (LsyncdAsCode::Room).
without_room() {
  local paths=()
  if [[ -r $run_directory/no-room ]]; then mapfile -d '' -t paths <"$run_directory/no-room"; fi
  if ((${#paths[@]} > 0)); then
    problem disk-no-room "the target has no room for ${#paths[@]} files, which are not mirrored; one is ${paths[0]}"
  fi
}

# Reports a failing disk, and errors that a file system has recorded.
failing() { # role path
  local fault
  while IFS= read -r fault; do problem "disk-fails-$1" "$fault"; done < <("$library/volume-disk" read "$1" "$2" 2>"$work/disk")
}

check_disk() {
  local used inodes size free
  if ! volumes_fine && [[ ! -e $failover_mark ]]; then
    skipped "see volumes"
    return
  fi
  if ! read -r used inodes size free < <(df -B1 --output=pcent,ipcent,size,avail -- "$lsyncd_target" 2>"$work/df" | tail -n 1 | tr -d %) || [[ -z $used ]]; then
    unknown disk "df: $(<"$work/df")"
    return
  fi
  if [[ $used =~ ^[0-9]+$ ]]; then measure disk_percent "$used"; fi
  if [[ $inodes =~ ^[0-9]+$ ]]; then measure inodes_percent "$inodes"; fi
  measure disk_size_bytes "$size"
  measure disk_free_bytes "$free"
  if [[ $used =~ ^[0-9]+$ ]] && ((used > disk_limit)); then
    problem disk-space "the target is $used % full (limit $disk_limit %)"
  elif [[ $inodes =~ ^[0-9]+$ ]] && ((inodes > disk_limit)); then
    problem disk-inodes "the target has used $inodes % of its inodes (limit $disk_limit %)"
  else
    ok "the target is $used % full, $inodes % of its inodes"
  fi
  without_room
  failing source "$lsyncd_source"
  failing target "$lsyncd_target"
}
