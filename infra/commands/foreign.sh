# Lists the mirrors of other lsyncd configurations on a host: of an earlier tool, or of a running lsyncd.

# Prints "source<TAB>target" for each sync of the lsyncd configuration $1. It is run as lsyncd would run it, but in
# an environment that only records: it cannot open a file or start a program.
syncs_of() {
  local interpreter
  for interpreter in lua5.3 lua; do
    command -v "$interpreter" >/dev/null || continue
    timeout 10 "$interpreter" - "$1" 2>/dev/null <<'LUA'
local function anything() return setmetatable({}, { __index = function() return anything() end, __call = function() return true end }) end
local environment = setmetatable({
  settings = function() end,
  sync = function(s) print((s.source or "?") .. "\t" .. (s.target or ((s.host or "?") .. ":" .. (s.targetdir or "?")))) end,
  os = { execute = function() return true end, getenv = os.getenv, date = os.date, time = os.time },
  pairs = pairs, ipairs = ipairs, tostring = tostring, tonumber = tonumber, string = string, table = table,
  error = function() end, print = function() end,
}, { __index = function() return anything() end })
local chunk = loadfile(arg[1], "t", environment)
if chunk then pcall(chunk) end
LUA
    return
  done
  # Without Lua there is no lsyncd either; the file is a leftover, so its text is searched instead.
  paste <(sed -nE 's/^[[:space:]]*source[[:space:]]*=[[:space:]]*"([^"]*)".*/\1/p' "$1") \
    <(sed -nE 's/^[[:space:]]*target[[:space:]]*=[[:space:]]*"([^"]*)".*/\1/p' "$1")
}

# The configurations in use on this host: Debian's path, and those of running lsyncds.
foreign_configs() {
  local pid argument
  {
    [ ! -e "$1" ] || printf '%s\n' "$1"
    for pid in $(pgrep -x lsyncd); do
      while IFS= read -r -d '' argument; do
        case "$argument" in /*.lua | /*.conf) [ ! -e "$argument" ] || printf '%s\n' "$argument" ;; esac
      done <"/proc/$pid/cmdline"
    done
  } | sort -u
}
