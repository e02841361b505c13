# shellcheck shell=bash disable=SC2154 # the program sets library
# Each program sources this before our other libraries, so that it has one version of all of them: a deployment exchanges the folder of
# all programs at once, also while one of them is starting. This holds the folder open, as `parts`, whatever its name is by then. If the
# program itself comes from another folder, it starts again. Whole.pm does the same for Perl.
# Variables: library, the folder. Sets parts; what follows sources its libraries from there, then calls `whole`.

# Starts the program again, with the same arguments, unless it has been tried before.
start_again() {
  local words
  if [[ -n $started_again || $BASHPID != "$$" ]]; then return; fi
  mapfile -d '' -t words <"/proc/$$/cmdline"
  LSYNCD_STARTED_AGAIN=1 exec "${words[@]}"
}

# Bash has the program open as descriptor 255.
started_again=${LSYNCD_STARTED_AGAIN-}
unset LSYNCD_STARTED_AGAIN
exec {whole_folder}<"$library"
parts=/proc/$$/fd/$whole_folder
if [[ -e /proc/$$/fd/255 && -e $parts/${0##*/} && ! /proc/$$/fd/255 -ef $parts/${0##*/} ]]; then start_again; fi

# For the first settings, which may be of the version after: the program has done nothing yet, and starts again.
settle() {
  if [[ -e $parts && ! $parts -ef $library ]]; then start_again; fi
}

# All libraries are loaded: no child needs the folder.
whole() {
  if [[ -e $parts ]]; then exec {whole_folder}<&-; fi
}
