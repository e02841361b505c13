# Lists the mirrors of other lsyncd configurations on a host: of an earlier tool, or of a running lsyncd.

# Seconds and KiB of memory for reading one configuration, which may be a program that never ends. Lua 5.3 itself needs 5 MiB.
READ_SECONDS=10 READ_MEMORY=262144

# Prints "source<TAB>target" for each sync of the lsyncd configuration $1, and an empty line if it could not be read to its end. It is run
# as lsyncd would run it, but in an environment that only records: it cannot open a file or start a program.
syncs_of() {
  local interpreter
  for interpreter in lua5.3 lua; do
    command -v "$interpreter" >/dev/null || continue
    (
      ulimit -v "$READ_MEMORY"
      timeout -k 1 "$READ_SECONDS" "$interpreter" - "$1" 2>/dev/null || printf '\n'
    ) <<'LUA' | head -n 1000
local function anything() return setmetatable({}, { __index = function() return anything() end, __call = function() return true end }) end
local environment = setmetatable({
  settings = function() end,
  sync = function(s) print((s.source or "?") .. "\t" .. (s.target or ((s.host or "?") .. ":" .. (s.targetdir or "?")))) end,
  os = { execute = function() return true end, getenv = os.getenv, date = os.date, time = os.time },
  pairs = pairs, ipairs = ipairs, tostring = tostring, tonumber = tonumber, string = string, table = table,
  error = function() end, print = function() end,
}, { __index = function() return anything() end })
local chunk = loadfile(arg[1], "t", environment)
if not chunk or not pcall(chunk) then os.exit(1) end
LUA
    return
  done
  # Without Lua there is no lsyncd either; the file is a leftover, so its text is searched instead.
  paste <(sed -nE 's/^[[:space:]]*source[[:space:]]*=[[:space:]]*"([^"]*)".*/\1/p' "$1") \
    <(sed -nE 's/^[[:space:]]*target[[:space:]]*=[[:space:]]*"([^"]*)".*/\1/p' "$1")
}

# Sets lsyncd_pids to the processes of lsyncd, one a line: those of root, and the service's. Any user can name a process so. Asks once.
find_lsyncds() {
  [ -z "${lsyncd_pids+set}" ] || return 0
  lsyncd_pids=$(
    pgrep -x -u root lsyncd
    systemctl show -p MainPID --value lsyncd.service 2>/dev/null | grep -vx 0
  )
}

# The configurations in use on this host: Debian's path, and those of running lsyncds.
foreign_configs() {
  local pid argument
  find_lsyncds
  {
    [ ! -f "$1" ] || printf '%s\n' "$1"
    for pid in $lsyncd_pids; do
      while IFS= read -r -d '' argument; do
        case "$argument" in /*.lua | /*.conf) [ ! -f "$argument" ] || printf '%s\n' "$argument" ;; esac
      done 2>/dev/null <"/proc/$pid/cmdline"
    done
  } | sort -u
}

# Warns about processes of other users that are named lsyncd: what they say of themselves proves nothing.
check_users_lsyncd() {
  local pids pid user
  pids=$(pgrep -x lsyncd) || return 0
  find_lsyncds
  for pid in $pids; do
    [[ $'\n'$lsyncd_pids$'\n' != *$'\n'"$pid"$'\n'* ]] || continue
    user=$(stat -c %U "/proc/$pid" 2>/dev/null) || continue
    warn "Process $pid of user $user is named lsyncd, and was not examined. If it mirrors to $TARGET, stop it."
  done
}
