# shellcheck shell=bash
# Reads the settings of this host: files below /etc/lsyncd that "lsyncd as code" renders. Sourced by its programs.
#
#   read_settings mirror source target 'sqlite_pattern[]' deletion_limit:number sqlite_safe:flag
#
# reads /etc/lsyncd/mirror.conf and sets a variable for each name: a string, an array with [], a number with :number, true or
# false with :flag. One setting per line, `name = "value"`. In a value \\ and \" stand for a backslash and a quote, \xNN
# for a control character. A list repeats its name on several lines. A missing or malformed setting ends the program with
# 78 (EX_CONFIG) and an error that names the file and the line. Settings.pm does the same for Perl.

# The directories of the files: the first one that has a file counts. While a deployment replaces the files in /etc/lsyncd one by
# one, the new programs find the new ones beside them. Tests set another directory.
settings_directories=("${BASH_SOURCE[0]%/*}/settings" /etc/lsyncd)
if [[ -n ${LSYNCD_SETTINGS-} ]]; then settings_directories=("$LSYNCD_SETTINGS"); fi

# A program that loads its libraries with whole.sh may have to start again.
settings_settle() { ! declare -F settle >/dev/null || settle; }

settings_error() {
  settings_settle
  printf '%s\n' "${0##*/}: $*" >&2
  exit 78
}

# read_settings FILE NAME...: sets the named variables from a file.
read_settings() {
  local LC_ALL=C settings_file settings_lines=() settings_line settings_key settings_text settings_number=-1 settings_wish settings_name=$1
  local settings_pattern='^([a-z][a-z0-9_]*) = "(([^"\\[:cntrl:]]|\\\\|\\"|\\x[0-9a-f][0-9a-f])*)"$'
  local -A settings_kind=() settings_found=()
  shift
  for settings_wish; do
    settings_key=${settings_wish%%[:[]*}
    settings_kind[$settings_key]=${settings_wish#"$settings_key"}
    if [[ ${settings_kind[$settings_key]} == '[]' ]]; then
      unset -v "$settings_key"
      declare -ga "$settings_key=()"
    fi
  done
  for settings_line in "${settings_directories[@]}"; do
    settings_file=$settings_line/$settings_name.conf
    if [[ -f $settings_file ]] && { mapfile -t settings_lines <"$settings_file"; } 2>/dev/null; then settings_number=0 && break; fi
  done
  if ((settings_number < 0)); then settings_error "cannot read the settings $settings_file"; fi
  for settings_line in "${settings_lines[@]}"; do
    settings_number=$((settings_number + 1))
    case $settings_line in '' | '#'*) continue ;; esac
    if ! [[ $settings_line =~ $settings_pattern ]]; then
      settings_error "$settings_file:$settings_number: not a setting; expected: name = \"value\""
    fi
    settings_key=${BASH_REMATCH[1]}
    settings_text=${BASH_REMATCH[2]}
    if [[ -z ${settings_kind[$settings_key]+set} ]]; then continue; fi
    # printf %b reads the same escapes, except for \".
    if [[ $settings_text == *\\* ]]; then printf -v settings_text %b "${settings_text//\\\"/\"}"; fi
    if [[ ${settings_kind[$settings_key]} == '[]' ]]; then
      local -n settings_list=$settings_key
      settings_list+=("$settings_text")
      unset -n settings_list
      settings_found[$settings_key]=1
      continue
    fi
    if [[ -n ${settings_found[$settings_key]-} ]]; then
      settings_error "$settings_file:$settings_number: the setting $settings_key is set twice"
    fi
    case ${settings_kind[$settings_key]} in
    :number)
      if ! [[ $settings_text =~ ^[0-9]{1,15}$ ]]; then
        settings_error "$settings_file:$settings_number: the setting $settings_key is not a number: $settings_text"
      fi
      ;;
    :flag)
      if ! [[ $settings_text =~ ^(true|false)$ ]]; then
        settings_error "$settings_file:$settings_number: the setting $settings_key is neither true nor false: $settings_text"
      fi
      ;;
    esac
    printf -v "$settings_key" %s "$settings_text"
    settings_found[$settings_key]=1
  done
  for settings_key in "${!settings_kind[@]}"; do
    if [[ ${settings_kind[$settings_key]} != '[]' && -z ${settings_found[$settings_key]-} ]]; then
      settings_error "$settings_file: the setting $settings_key is missing"
    fi
  done
  settings_settle
}
