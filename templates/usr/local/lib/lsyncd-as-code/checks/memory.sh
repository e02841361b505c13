# shellcheck shell=bash disable=SC2154 # monitor.sh sets them

# Checks the anonymous memory of lsyncd and its children: the control group's own count includes the page cache, which
# the kernel can reclaim and which a large copy always fills.
check_memory() {
  local limit pid used=0 line
  limit=$(unit_is MemoryMax)
  [[ $limit =~ ^[0-9]+$ ]] || limit=$(unit_is MemoryHigh)
  while read -r pid; do
    while read -r line; do
      if [[ $line =~ ^RssAnon:[^0-9]*([0-9]+) ]]; then used=$((used + BASH_REMATCH[1])); fi
    done 2>/dev/null <"/proc/$pid/status"
  done < <(unit_processes)
  measure memory_bytes $((used * 1024))
  if [[ $limit =~ ^[1-9][0-9]*$ ]] && ((limit <= 1 << 60)); then measure memory_limit_bytes "$limit"; fi
  if ! [[ $limit =~ ^[1-9][0-9]*$ ]] || ((limit > 1 << 60)); then
    ok "$((used / 1024)) MiB, no limit"
  elif ((used * 1024 * 100 > limit * memory_limit)); then
    problem memory "lsyncd uses $((used / 1024)) MiB of the unit's limit of $((limit >> 20)) MiB (over $memory_limit %)"
  else
    ok "$((used / 1024)) of $((limit >> 20)) MiB"
  fi
}
