#!/bin/bash
# Usage: record-lsyncd.sh FOLDER SOURCE TARGET COMMAND…
#
# Runs a real lsyncd (COMMAND) that mirrors SOURCE to TARGET and calls FOLDER/recorder in rsync's place; changes the source step by step;
# prints what lsyncd passed in each step: a line with its name, one for each option, one for each path of its lists, "." at the end. The
# order of paths, and of the letters of one word of options, is no property of a version (Lua's tables have none), so they are sorted.
set -eu
folder=$1 source=$2 target=$3
shift 3
mkdir -p "$folder" "$source" "$target"
cat >"$folder/recorder" <<END
#!/bin/bash
{
  printf '%s\n' "\$@" | head -n -2 | sed 's/^/option /'
  case " \$* " in *' --include-from=- '*) { tr '\0' '\n'; echo; } | sed '/./!d; s/^/path /' ;; esac
} >>"$folder/calls.\$\$"
# Renamed when complete, so that no reader sees half a record.
mv "$folder/calls.\$\$" "$folder/call.\$(date +%s%N)"
END
chmod +x "$folder/recorder"
"$@" >"$folder/output" 2>&1 &
lsyncd=$!
trap 'kill $lsyncd; wait $lsyncd || true' EXIT

# Until lsyncd has called, and then for as long as one more call of the same change can take.
step() {
  local i
  for ((i = 0; i < 600; i++)); do
    if compgen -G "$folder/call.*" >/dev/null; then break; fi
    if ! kill -0 $lsyncd; then cat "$folder/output" >&2; exit 1; fi
    sleep 0.1
  done
  sleep 3
  echo "step $1"
  cat "$folder"/call.* | perl -pe 's/^option -(\w+)$/"option -" . join "", sort split m{}, $1/e' >"$folder/all"
  # Of several calls of one step the options are the same.
  grep '^option ' "$folder/all" | awk '!seen[$0]++'
  grep '^path ' "$folder/all" | LC_ALL=C sort -u || true
  echo .
  rm "$folder"/call.*
}
# A writer that ends without closing leaves its -wal and -shm as they are.
sql() {
  python3 -c 'import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
for s in sys.argv[2:]: c.execute(s).fetchall()
os._exit(0)' "$@"
}

step 'start'
sql "$source/a.sqlite" 'create table t (i)'
step 'a new database'
sql "$source/a.sqlite" 'insert into t values (1)'
step 'a commit with a rollback journal'
sql "$source/a.sqlite" 'pragma journal_mode = wal' 'insert into t values (2)'
step 'a database turns to WAL mode'
sql "$source/a.sqlite" 'insert into t values (3)'
step 'a commit in WAL mode'
printf x >"$source/.lsyncd-monitor-probe"
step 'the probe of the monitor'
rm "$source/.lsyncd-monitor-probe"
step 'the probe goes'
sql "$source/a.sqlite" 'insert into t values (4)'
printf x >"$source/mail [1].eml"
step 'a commit and another file'
mkdir -p "$source/d/e"
sql "$source/d/e/b.db" 'create table t (i)'
step 'a new directory with a database'
sql "$source/d/e/b.db" 'insert into t values (1)'
step 'a commit in a directory'
rm "$source/d/e/b.db"
step 'a database is deleted'
mv "$source/a.sqlite" "$source/z.sqlite"
step 'a database is renamed'
rm -r "$source/d"
step 'a directory is deleted'
